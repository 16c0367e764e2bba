//! What is asked for: links by Zipf's law, from browsers of several kinds, on several pages. All of
//! it is written beforehand, so that a request is two copies.

use std::net::SocketAddr;

use fastrand::Rng;

use super::super::seed::{Seed, target};

/// Browsers, phones and a bot: what is told apart of clicks costs what it costs in earnest.
const AGENTS: [&str; 6] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
];

/// Pages that links are on.
const REFERRERS: [&str; 4] =
    ["", "https://news.example/", "https://t.example/", "https://mail.example/inbox"];

/// Links, and how they are asked for.
pub(crate) struct Workload {
    codes: Vec<String>,
    /// The sums of the first probabilities.
    sums: Vec<f64>,
    /// What follows the path, one for each browser and page.
    heads: Vec<Vec<u8>>,
}

/// One request: which link, and which head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) link: u32,
    head: u8,
}

impl Workload {
    /// The links of a seed, asked for at this host.
    pub(crate) fn new(seed: &Seed, host: SocketAddr) -> Self {
        let mut heads = Vec::new();
        for agent in AGENTS {
            for referrer in REFERRERS {
                let referrer = match referrer {
                    "" => String::new(),
                    page => format!("referer: {page}\r\n"),
                };
                heads.push(
                    format!(
                        " HTTP/1.1\r\nhost: {host}\r\nuser-agent: {agent}\r\naccept: text/html,\
                         application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
                         accept-language: en-US,en;q=0.5\r\naccept-encoding: gzip, deflate, br\r\n\
                         {referrer}\r\n"
                    )
                    .into_bytes(),
                );
            }
        }
        Self { codes: seed.codes.clone(), sums: zipf(seed.codes.len()), heads }
    }

    /// How many links there are.
    pub(crate) fn links(&self) -> usize {
        self.codes.len()
    }

    /// A request as it comes.
    pub(crate) fn draw(&self, random: &mut Rng) -> Ask {
        let point = random.f64();
        let link = self.sums.partition_point(|sum| *sum < point) as u32;
        Ask { link, head: random.u8(..self.heads.len() as u8) }
    }

    /// The request for a certain link.
    pub(crate) fn of_link(&self, link: usize) -> Ask {
        Ask { link: link as u32, head: (link % self.heads.len()) as u8 }
    }

    /// Writes a request.
    pub(crate) fn write(&self, ask: Ask, into: &mut Vec<u8>) {
        into.extend_from_slice(b"GET /");
        into.extend_from_slice(self.codes[ask.link as usize].as_bytes());
        into.extend_from_slice(&self.heads[usize::from(ask.head)]);
    }

    /// Whether this is where the link leads.
    pub(crate) fn is_target(&self, ask: Ask, location: &[u8]) -> bool {
        // Compared without being written: the number is all that differs.
        let expect = target(ask.link as usize);
        expect.as_bytes() == location
    }
}

/// The sums of the first probabilities of so many things, of which the k-th is asked for with one
/// in proportion to 1/k: Zipf's law with an exponent of 1.
pub(crate) fn zipf(count: usize) -> Vec<f64> {
    let whole: f64 = (1..=count).map(|rank| 1.0 / rank as f64).sum();
    let shares = (1..count).scan(0.0, |sum, rank| {
        *sum += 1.0 / rank as f64 / whole;
        Some(*sum)
    });
    shares.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_asked_for_most_and_the_last_is_asked_for() {
        let sums = zipf(4);
        let rank = |random: f64| sums.partition_point(|sum| *sum < random);
        assert_eq!(sums.len(), 3);
        assert!((sums[0] - 12.0 / 25.0).abs() < 1e-9, "{sums:?}");
        for (random, expect) in [(0.0, 0), (0.47, 0), (0.49, 1), (0.73, 2), (0.99, 3), (1.0, 3)] {
            assert_eq!(rank(random), expect, "{random}");
        }
    }
}
