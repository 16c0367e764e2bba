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

/// The class of device that a request comes from, by `User-Agent`, and by `Sec-CH-UA-Mobile` where
/// that tells of neither bot nor tablet: browsers with client hints shorten the former.
pub fn device(request: &Headers) -> Device {
    const BOTS: &[&[u8]] = &[
        b"bot",
        b"crawl",
        b"spider",
        b"slurp",
        b"preview",
        b"facebookexternalhit",
        b"archiver",
        b"lighthouse",
        b"headless",
    ];
    const TABLETS: &[&[u8]] = &[b"ipad", b"tablet", b"kindle", b"silk/", b"playbook"];
    const PHONES: &[&[u8]] =
        &[b"iphone", b"ipod", b"mobi", b"windows phone", b"blackberry", b"opera mini"];
    let agent = request.known(Known::UserAgent).unwrap_or_default();
    let has = |words: &[&[u8]]| words.iter().any(|word| contains(agent, word));
    if has(BOTS) {
        return Device::Bot;
    }
    if has(TABLETS) {
        return Device::Tablet;
    }
    match request.first(b"sec-ch-ua-mobile") {
        Some(b"?1") => return Device::Phone,
        Some(b"?0") if !contains(agent, b"android") => return Device::Desktop,
        _ => {}
    }
    if has(PHONES) {
        Device::Phone
    } else if contains(agent, b"android") {
        // Phones say `Mobile` besides.
        Device::Tablet
    } else {
        Device::Desktop
    }
}

/// Whether `text` has `word`, which is in lower case, in any case.
fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word))
}
