//! What must hold of the PROXY protocol whatever comes in.

use seawall_core::proxy_protocol::{MAX_LENGTH, Version, encode, parse};

/// Panics when it does not hold for `input`.
pub(crate) fn check(input: &[u8]) {
    let all = parse(input);
    // Bytes come in any pieces: the answer is the same at every one of them, once there is one.
    let first = (0..=input.len()).find(|&length| parse(&input[..length]) != Ok(None));
    for length in first.unwrap_or(input.len())..=input.len() {
        assert_eq!(parse(&input[..length]), all, "of {length} bytes");
    }
    let Ok(Some(header)) = all else { return };
    assert_eq!(Some(header.length), first, "known as soon as it is there");
    assert!(header.length <= MAX_LENGTH);
    if let Some(addresses) = header.addresses {
        for end in [addresses.source, addresses.destination] {
            assert_eq!(end.ip(), end.ip().to_canonical());
        }
    }
    // What was understood is handed on as it was.
    for version in [Version::V1, Version::V2] {
        let mut bytes = Vec::new();
        encode(version, header.addresses, &mut bytes);
        let again = parse(&bytes).expect("of our own").expect("all of it");
        assert_eq!((again.length, again.addresses), (bytes.len(), header.addresses));
    }
}
