//! Whether a peer is trusted must not depend on how its IPv4 address is written: as such, or
//! mapped into IPv6.

#![no_main]

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use libfuzzer_sys::fuzz_target;
use seawall_config::plan::{AccessLog, Server};

fuzz_target!(|data: &[u8]| {
    let Some((peer, nets)) = data.split_first_chunk::<4>() else {
        return;
    };
    let nets = nets.chunks_exact(5).filter_map(|net| {
        let address = Ipv4Addr::new(net[0], net[1], net[2], net[3]);
        Ipv4Net::new(address, net[4] % 33).ok()
    });
    let server = Server {
        workers: None,
        admin: None,
        drain: Duration::ZERO,
        access_log: AccessLog::Off,
        trust: nets.map(IpNet::V4).collect(),
        resolver: None,
    };
    let peer = Ipv4Addr::from(*peer);
    let expect = server.trust.iter().any(|net| net.contains(&IpAddr::V4(peer)));
    assert_eq!(server.trusts(IpAddr::V4(peer)), expect);
    assert_eq!(server.trusts(IpAddr::V6(peer.to_ipv6_mapped())), expect);
});
