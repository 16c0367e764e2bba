//! The class of device that a request comes from.

use seawall_h1::{Headers, Known};

/// A class of device. Numbers are part of stored keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Device {
    /// A large screen, and whatever is not known.
    Desktop = 0,
    /// A small screen.
    Phone = 1,
    /// A screen in between.
    Tablet = 2,
    /// A program that reads pages: for search engines, previews, archives.
    Bot = 3,
}

impl Device {
    /// Its name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Device::Desktop => "desktop",
            Device::Phone => "phone",
            Device::Tablet => "tablet",
            Device::Bot => "bot",
        }
    }
}

/// The name of the class of which this is the part of a key.
pub(super) fn name_of(part: u8) -> Option<&'static str> {
    let all = [Device::Desktop, Device::Phone, Device::Tablet, Device::Bot];
    all.into_iter().find(|device| *device as u8 == part).map(Device::name)
}

/// The class of device that a request comes from, by `User-Agent`, and by `Sec-CH-UA-Mobile` where
/// that tells of neither bot nor tablet: browsers with client hints shorten the former.
pub fn device(request: &Headers) -> Device {
    let signs = signs(request.known(Known::UserAgent).unwrap_or_default());
    let has = |sign: u8| signs & sign != 0;
    if has(BOT) {
        return Device::Bot;
    }
    if has(TABLET) {
        return Device::Tablet;
    }
    match request.first(b"sec-ch-ua-mobile") {
        Some(b"?1") => return Device::Phone,
        Some(b"?0") if !has(ANDROID) => return Device::Desktop,
        _ => {}
    }
    if has(PHONE) {
        Device::Phone
    } else if has(ANDROID) {
        // Phones say `Mobile` besides.
        Device::Tablet
    } else {
        Device::Desktop
    }
}

const BOT: u8 = 1;
const TABLET: u8 = 2;
const PHONE: u8 = 4;
const ANDROID: u8 = 8;

/// What the words of a `User-Agent` are signs of, found in one pass, since this is done for each
/// hit. A word may stand within another, as in `Googlebot`.
fn signs(agent: &[u8]) -> u8 {
    let mut signs = 0;
    for at in 0..agent.len() {
        for (rest, sign) in words(agent[at].to_ascii_lowercase()) {
            let found = agent.get(at + 1..at + 1 + rest.len());
            if found.is_some_and(|found| found.eq_ignore_ascii_case(rest)) {
                signs |= sign;
            }
        }
    }
    signs
}

/// Words that begin with a letter, without it.
fn words(first: u8) -> &'static [(&'static [u8], u8)] {
    match first {
        b'a' => &[(b"ndroid", ANDROID), (b"rchiver", BOT)],
        b'b' => &[(b"ot", BOT), (b"lackberry", PHONE)],
        b'c' => &[(b"rawl", BOT)],
        b'f' => &[(b"acebookexternalhit", BOT)],
        b'h' => &[(b"eadless", BOT)],
        b'i' => &[(b"pad", TABLET), (b"phone", PHONE), (b"pod", PHONE)],
        b'k' => &[(b"indle", TABLET)],
        b'l' => &[(b"ighthouse", BOT)],
        b'm' => &[(b"obi", PHONE)],
        b'o' => &[(b"pera mini", PHONE)],
        b'p' => &[(b"laybook", TABLET), (b"review", BOT)],
        b's' => &[(b"ilk/", TABLET), (b"lurp", BOT), (b"pider", BOT)],
        b't' => &[(b"ablet", TABLET)],
        b'w' => &[(b"indows phone", PHONE)],
        _ => &[],
    }
}
