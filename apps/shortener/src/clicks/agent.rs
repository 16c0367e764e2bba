//! What `User-Agent` says: a device and a browser, or a program that nobody sits at. Pure.
//!
//! Tables of our own, short on purpose: a report tells browsers apart, not their versions. What a
//! program says of itself cannot be known to be true, so this counts, and guards nothing. The first
//! row that is found decides; they are ordered so that names which others carry come last.

/// What somebody uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Device {
    /// A computer on a desk or a lap.
    Desktop,
    /// A telephone.
    Mobile,
    /// A tablet.
    Tablet,
    /// A program that nobody sits at.
    Bot,
    /// Anything else: televisions, consoles, what does not say.
    Other,
}

impl Device {
    /// All of them.
    pub const ALL: [Device; 5] =
        [Device::Desktop, Device::Mobile, Device::Tablet, Device::Bot, Device::Other];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Device::Desktop => "desktop",
            Device::Mobile => "mobile",
            Device::Tablet => "tablet",
            Device::Bot => "bot",
            Device::Other => "other",
        }
    }

    /// The device with this name.
    pub fn of(name: &str) -> Option<Device> {
        Device::ALL.into_iter().find(|device| device.name() == name)
    }
}

/// Who follows a link, as far as that is told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Agent {
    /// The device; [`Device::Bot`] for every program that nobody sits at.
    pub device: Device,
    /// The browser, or the bot.
    pub name: &'static str,
}

/// What is not in the tables.
pub const OTHER: &str = "Other";

/// Bytes of a `User-Agent` that are looked at.
pub const LONGEST_AGENT: usize = 512;

/// Bots whose names people know, by a text that is in what they say in lower case.
const BOTS: &[(&str, &str)] = &[
    ("googlebot", "Googlebot"),
    ("google-inspectiontool", "Googlebot"),
    ("googleother", "Googlebot"),
    ("adsbot-google", "Googlebot"),
    ("mediapartners-google", "Googlebot"),
    ("bingbot", "Bingbot"),
    ("bingpreview", "Bingbot"),
    ("duckduckbot", "DuckDuckBot"),
    ("yandex", "Yandex"),
    ("baiduspider", "Baidu"),
    ("applebot", "Applebot"),
    ("petalbot", "PetalBot"),
    ("ahrefsbot", "AhrefsBot"),
    ("semrushbot", "SemrushBot"),
    ("mj12bot", "MJ12bot"),
    ("dotbot", "DotBot"),
    ("gptbot", "GPTBot"),
    ("chatgpt-user", "ChatGPT"),
    ("oai-searchbot", "ChatGPT"),
    ("claudebot", "ClaudeBot"),
    ("perplexitybot", "PerplexityBot"),
    ("bytespider", "Bytespider"),
    ("ccbot", "CCBot"),
    ("amazonbot", "Amazonbot"),
    ("facebookexternalhit", "Facebook"),
    ("facebot", "Facebook"),
    ("meta-externalagent", "Facebook"),
    ("twitterbot", "Twitterbot"),
    ("linkedinbot", "LinkedInBot"),
    ("pinterestbot", "Pinterestbot"),
    ("slackbot", "Slackbot"),
    ("slack-imgproxy", "Slackbot"),
    ("discordbot", "Discordbot"),
    ("telegrambot", "TelegramBot"),
    ("whatsapp", "WhatsApp"),
    ("skypeuripreview", "Skype"),
    ("redditbot", "Redditbot"),
    ("mastodon", "Mastodon"),
    ("bluesky", "Bluesky"),
    ("uptimerobot", "UptimeRobot"),
    ("pingdom", "Pingdom"),
    ("lighthouse", "Lighthouse"),
    ("headlesschrome", "Headless Chrome"),
    ("curl/", "curl"),
    ("wget/", "Wget"),
    ("python", "Python"),
    ("go-http-client", "Go"),
    ("java/", "Java"),
    ("okhttp", "OkHttp"),
    ("apache-httpclient", "Java"),
    ("node-fetch", "Node.js"),
    ("axios/", "Node.js"),
    ("undici", "Node.js"),
    ("libwww-perl", "Perl"),
    ("guzzlehttp", "PHP"),
    ("ruby", "Ruby"),
    ("postmanruntime", "Postman"),
];

/// What bots without a name have in what they say.
const OF_BOTS: &[&str] = &[
    "bot/",
    "bot;",
    "bot ",
    "bot)",
    "-bot",
    "crawl",
    "spider",
    "slurp",
    "scrap",
    "archiver",
    "fetcher",
    "monitor",
    "preview",
    "validator",
    "http://",
    "https://",
    "+http",
    "headless",
    "phantomjs",
    "selenium",
    "httpclient",
    "http_client",
    "libcurl",
    "check_http",
];

/// Browsers. Chrome and Safari come last: nearly all others say that they are these too.
const BROWSERS: &[(&str, &str)] = &[
    ("edg/", "Edge"),
    ("edga/", "Edge"),
    ("edgios/", "Edge"),
    ("edge/", "Edge"),
    ("opr/", "Opera"),
    ("opera", "Opera"),
    ("opt/", "Opera"),
    ("samsungbrowser/", "Samsung Internet"),
    ("vivaldi/", "Vivaldi"),
    ("yabrowser/", "Yandex Browser"),
    ("ucbrowser/", "UC Browser"),
    ("duckduckgo/", "DuckDuckGo"),
    ("ddg/", "DuckDuckGo"),
    ("brave/", "Brave"),
    ("instagram", "Instagram"),
    ("fban/", "Facebook"),
    ("fbav/", "Facebook"),
    ("musical_ly", "TikTok"),
    ("bytedancewebview", "TikTok"),
    ("micromessenger/", "WeChat"),
    ("firefox/", "Firefox"),
    ("fxios/", "Firefox"),
    ("focus/", "Firefox"),
    ("seamonkey/", "SeaMonkey"),
    ("msie ", "Internet Explorer"),
    ("trident/", "Internet Explorer"),
    ("crios/", "Chrome"),
    ("chromium/", "Chromium"),
    ("chrome/", "Chrome"),
    ("android", "Android Browser"),
    ("safari/", "Safari"),
    ("applewebkit/", "Safari"),
];

/// Devices, by two texts that must both be there.
const DEVICES: &[(&str, &str, Device)] = &[
    ("smart-tv", "", Device::Other),
    ("smarttv", "", Device::Other),
    ("appletv", "", Device::Other),
    ("playstation", "", Device::Other),
    ("xbox", "", Device::Other),
    ("nintendo", "", Device::Other),
    ("ipad", "", Device::Tablet),
    ("tablet", "", Device::Tablet),
    ("kindle", "", Device::Tablet),
    ("silk/", "", Device::Tablet),
    ("iphone", "", Device::Mobile),
    ("ipod", "", Device::Mobile),
    ("android", "mobile", Device::Mobile),
    ("android", "", Device::Tablet),
    ("mobile", "", Device::Mobile),
    ("opera mini", "", Device::Mobile),
    ("windows nt", "", Device::Desktop),
    ("macintosh", "", Device::Desktop),
    ("cros ", "", Device::Desktop),
    ("x11", "", Device::Desktop),
    ("linux", "", Device::Desktop),
];

/// Understands what a client says of itself. Browsers all say something, so whoever says nothing
/// is taken for a program.
pub fn classify(agent: &[u8]) -> Agent {
    let agent = &agent[..agent.len().min(LONGEST_AGENT)];
    // A maker of telephones, and no bot.
    let agent = String::from_utf8_lossy(agent).to_ascii_lowercase().replace("cubot", "");
    if agent.trim().is_empty() {
        return Agent { device: Device::Bot, name: OTHER };
    }
    let named = |table: &[(&str, &'static str)]| {
        table.iter().find(|(text, _)| agent.contains(text)).map(|(_, name)| *name)
    };
    if let Some(name) = named(BOTS) {
        return Agent { device: Device::Bot, name };
    }
    // A browser has said since 1994 that it is compatible with Mozilla; Opera did so late.
    let is_browser = agent.starts_with("mozilla/") || agent.starts_with("opera/");
    if !is_browser || agent.ends_with("bot") || OF_BOTS.iter().any(|text| agent.contains(text)) {
        return Agent { device: Device::Bot, name: OTHER };
    }
    let has = |text: &str| agent.contains(text);
    let device = DEVICES.iter().find(|(one, other, _)| has(one) && has(other));
    Agent {
        device: device.map_or(Device::Other, |(.., device)| *device),
        name: named(BROWSERS).unwrap_or(OTHER),
    }
}

/// The name of a browser or bot as the tables have it; [`OTHER`] when they do not.
pub fn known(name: &str) -> &'static str {
    let mut names = BROWSERS.iter().chain(BOTS).map(|(_, name)| *name);
    names.find(|known| *known == name).unwrap_or(OTHER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_told_by_device_and_browser() {
        use Device::{Desktop, Mobile, Other, Tablet};
        for (agent, device, name) in [
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
                Desktop,
                "Chrome",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36 Edg/126.0.0.0",
                Desktop,
                "Edge",
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15",
                Desktop,
                "Safari",
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
                Desktop,
                "Firefox",
            ),
            (
                "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
                Desktop,
                "Chrome",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
                Mobile,
                "Safari",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/126.0.6478.54 Mobile/15E148 Safari/604.1",
                Mobile,
                "Chrome",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 Instagram 336.0",
                Mobile,
                "Instagram",
            ),
            (
                "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36",
                Mobile,
                "Chrome",
            ),
            (
                "Mozilla/5.0 (Linux; Android 14; SM-S918B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/25.0 Chrome/121.0.0.0 Mobile Safari/537.36",
                Mobile,
                "Samsung Internet",
            ),
            (
                "Mozilla/5.0 (Linux; Android 13; SM-X900) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
                Tablet,
                "Chrome",
            ),
            (
                "Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) FxiOS/127.0 Mobile/15E148 Safari/605.1.15",
                Tablet,
                "Firefox",
            ),
            (
                "Mozilla/5.0 (Android 14; Mobile; rv:127.0) Gecko/127.0 Firefox/127.0",
                Mobile,
                "Firefox",
            ),
            (
                "Mozilla/5.0 (SMART-TV; Linux; Tizen 7.0) AppleWebKit/537.36 (KHTML, like Gecko) Version/7.0 TV Safari/537.36",
                Other,
                "Safari",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko",
                Desktop,
                "Internet Explorer",
            ),
            (
                "Opera/9.80 (J2ME/MIDP; Opera Mini/9.80/37.8069; U; en) Presto/2.12.423",
                Mobile,
                "Opera",
            ),
            (
                "Mozilla/5.0 (Linux; Android 11; CUBOT NOTE 20) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Mobile Safari/537.36",
                Mobile,
                "Chrome",
            ),
            ("Mozilla/5.0", Other, OTHER),
        ] {
            assert_eq!(classify(agent.as_bytes()), Agent { device, name }, "{agent}");
            assert_eq!(known(name), name);
        }
    }

    #[test]
    fn programs_are_told_from_people() {
        for (agent, name) in [
            (
                "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
                "Googlebot",
            ),
            (
                "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Mobile Safari/537.36 (compatible; Googlebot/2.1)",
                "Googlebot",
            ),
            (
                "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
                "Facebook",
            ),
            ("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", "Slackbot"),
            ("WhatsApp/2.23.20.0", "WhatsApp"),
            ("curl/8.5.0", "curl"),
            ("python-requests/2.32.3", "Python"),
            ("Go-http-client/2.0", "Go"),
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/126.0.0.0 Safari/537.36",
                "Headless Chrome",
            ),
            ("Mozilla/5.0 (compatible; SomethingNew-bot/0.1)", OTHER),
            ("Mozilla/5.0 (compatible; NewBot)", OTHER),
            ("Mozilla/5.0 (compatible; https://example.com/about)", OTHER),
            ("my-program", OTHER),
            ("\u{ff}\u{0}", OTHER),
            ("", OTHER),
            ("  ", OTHER),
        ] {
            let expect = Agent { device: Device::Bot, name };
            assert_eq!(classify(agent.as_bytes()), expect, "{agent}");
            assert_eq!(known(name), name);
        }
    }

    #[test]
    fn anything_is_classified() {
        for byte in 0..=255 {
            classify(&[byte; 2 * LONGEST_AGENT]);
        }
        assert_eq!(known("<script>"), OTHER);
        assert!(Device::ALL.into_iter().all(|device| Device::of(device.name()) == Some(device)));
    }
}
