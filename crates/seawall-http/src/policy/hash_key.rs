//! What a request is hashed by, so that those that are alike reach the same server.

use data_encoding::BASE64URL_NOPAD;
use seawall_config::plan::{Balance, HashKey};
use seawall_core::balance::key::hash_key;
use seawall_h1::Known;
use seawall_h1::fields::trim;

use super::headers::write_client;
use crate::message::Request;
use crate::route::{decoded, parameters};

/// The longest JSON Web Token that is looked into.
const LONGEST_TOKEN: usize = 8 * 1024;

/// The key of a request, if the balancer asks for one and the request has it.
pub(crate) fn of(request: &Request<'_>, balance: &Balance) -> Option<u64> {
    match balance {
        Balance::RoundRobin
        | Balance::Random
        | Balance::LeastConnections
        | Balance::TwoChoices
        | Balance::LeastLatency => None,
        Balance::IpHash => of_client(request),
        Balance::Hash(by) | Balance::Maglev(by) => found(request, &by.key),
    }
}

fn of_client(request: &Request<'_>) -> Option<u64> {
    let mut client = Vec::with_capacity(40);
    write_client(request, &mut client);
    Some(hash_key(&client))
}

fn found(request: &Request<'_>, key: &HashKey) -> Option<u64> {
    let head = request.head;
    match key {
        HashKey::Path => Some(hash_key(head.path())),
        HashKey::Query(name) => {
            let mut all = parameters(head.query());
            let (_, value) = all.find(|(found, _)| decoded(found).eq(name.bytes()))?;
            Some(hash_key(&decoded(value).collect::<Vec<u8>>()))
        }
        HashKey::Header(name) => head.headers.first(name.as_bytes()).map(hash_key),
        HashKey::Cookie(name) => cookie(request, name).map(hash_key),
        HashKey::ClientIp => of_client(request),
        HashKey::JwtClaim(claim) => {
            let field = head.headers.first(b"authorization")?;
            let (scheme, token) = field.split_at_checked(7)?;
            let token = scheme.eq_ignore_ascii_case(b"bearer ").then(|| trim(token))?;
            claim_of(token, claim)
        }
    }
}

/// The value of a cookie: the first of that name.
pub(crate) fn cookie<'a>(request: &Request<'a>, name: &str) -> Option<&'a [u8]> {
    let fields = request.head.headers.all_known(Known::Cookie);
    let pairs = fields.flat_map(|field| field.split(|&b| b == b';')).map(trim);
    pairs.filter_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")).next()
}

/// The hash of a claim, if the token has it as text or a number. Who trusts the token must verify
/// it; a forged one here only reaches another server.
fn claim_of(token: &[u8], claim: &str) -> Option<u64> {
    if token.len() > LONGEST_TOKEN {
        return None;
    }
    let payload = token.split(|&b| b == b'.').nth(1)?;
    let payload = BASE64URL_NOPAD.decode(payload).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&payload).ok()?;
    match claims.get(claim)? {
        serde_json::Value::String(text) => Some(hash_key(text.as_bytes())),
        serde_json::Value::Number(number) => Some(hash_key(number.to_string().as_bytes())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_read_from_good_tokens_only() {
        let token = |payload: &str| format!("e30.{}.x", BASE64URL_NOPAD.encode(payload.as_bytes()));
        let of = |token: &str| claim_of(token.as_bytes(), "sub");
        assert_eq!(of(&token(r#"{"sub":"ann"}"#)), Some(hash_key(b"ann")));
        assert_eq!(of(&token(r#"{"sub":17}"#)), Some(hash_key(b"17")));
        for bad in [r#"{"sub":null}"#, r#"{"sub":["ann"]}"#, r#"{"Sub":"ann"}"#, "[1]", "{"] {
            assert_eq!(of(&token(bad)), None, "{bad}");
        }
        for bad in ["", "e30", "e30.=.x", &"x.".repeat(5000)] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
