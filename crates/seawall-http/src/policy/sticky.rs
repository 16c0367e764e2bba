//! A cookie that keeps a client on its server: `ID.SIGNATURE`, where the id is a hash of the server's
//! address under a pad that the signature is turned into, since of a bare one all addresses can be
//! tried. Signed, so that clients cannot choose servers; when the server is gone or may not be used, the balancer chooses another, and the cookie follows.

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use seawall_config::plan::Sticky;
use seawall_h1::ResponseHead;
use sha2::Sha256;

use super::hash_key::cookie;
use super::headers::is_secure;
use crate::forward::retry::Errand;
use crate::message::Request;
use crate::upstream::pool::Pool;

/// Bytes of the signature that are kept.
const SIGNATURE: usize = 16;

/// The id of the server that the client's cookie names, if it was signed here.
pub(crate) fn read(request: &Request<'_>, pool: &Pool, sticky: &Sticky) -> Option<u64> {
    let value = cookie(request, &sticky.cookie)?;
    let (id, signature) = value.split_at_checked(16)?;
    let signature = HEXLOWER.decode(signature.strip_prefix(b".")?).ok()?;
    let id = HEXLOWER.decode(id).ok()?;
    let id = under_pad(pool, sticky, id.try_into().ok()?, &signature);
    let right = signature.len() == SIGNATURE
        && mac(pool, sticky, ID, &id).verify_truncated_left(&signature).is_ok();
    right.then_some(u64::from_be_bytes(id))
}

/// Adds the cookie to an answer unless the client has it already.
pub(crate) fn write(errand: &Errand<'_>, head: &mut ResponseHead) {
    let Some(sticky) = &errand.config().sticky else { return };
    let server = errand.request.facts.server.borrow();
    let Some(id) = server.as_ref().map(|server| server.state.id) else { return };
    if errand.search.stuck_to == Some(id) {
        return;
    }
    let id = id.to_be_bytes();
    let signature = mac(errand.pool(), sticky, ID, &id).finalize().into_bytes();
    let signature = &signature[..SIGNATURE];
    let id = under_pad(errand.pool(), sticky, id, signature);
    let mut field = format!(
        "{}={}.{}; Path=/; HttpOnly; SameSite=Lax",
        sticky.cookie,
        HEXLOWER.encode(&id),
        HEXLOWER.encode(signature)
    );
    if let Some(age) = sticky.max_age {
        field += &format!("; Max-Age={}", age.as_secs());
    }
    if is_secure(errand.request) {
        field += "; Secure";
    }
    head.headers.push(b"Set-Cookie", field.as_bytes());
}

/// The id for the cookie, and back.
fn under_pad(pool: &Pool, sticky: &Sticky, mut id: [u8; 8], signature: &[u8]) -> [u8; 8] {
    let pad = mac(pool, sticky, PAD, signature).finalize().into_bytes();
    id.iter_mut().zip(pad).for_each(|(byte, pad)| *byte ^= pad);
    id
}

/// What is signed.
const ID: u8 = 0;
const PAD: u8 = 1;

/// The upstream's name is signed too, so that a cookie of one is not good for another.
fn mac(pool: &Pool, sticky: &Sticky, what: u8, text: &[u8]) -> Hmac<Sha256> {
    let key = match &sticky.secret {
        Some(secret) => secret.reveal().as_bytes(),
        None => &pool.upstream.process_key[..],
    };
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(pool.upstream.name.as_bytes());
    mac.update(&[0, what]);
    mac.update(text);
    mac
}
