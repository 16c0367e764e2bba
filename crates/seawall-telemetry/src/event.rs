//! An event of a report: what an application is told of one answer that Seawall gave to a client.
//! Whoever collects and sends them is in the HTTP door.

use crate::line::Line;

/// What an event says of one answer.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// When the answer had ended, in milliseconds since 1970 (UTC).
    pub time_millis: u64,
    /// Address of the client as far as trusted peers tell it.
    pub client: &'a [u8],
    /// Method, as it was written.
    pub method: &'a [u8],
    /// The host asked for.
    pub host: &'a [u8],
    /// Path and query, the query with its `?`.
    pub path: (&'a [u8], &'a [u8]),
    /// Status of the answer.
    pub status: u16,
    /// `Referer`.
    pub referrer: &'a [u8],
    /// `User-Agent`.
    pub agent: &'a [u8],
    /// Whether the client asks not to be followed: `DNT: 1` or `Sec-GPC: 1`.
    pub dnt: bool,
    /// What the cache did with the request, or nothing.
    pub cache: &'a str,
}

/// Most bytes of the path with its query, of the host, of `Referer` and of `User-Agent`; what is
/// beyond is cut off, so that no client can fill the buffer with a few requests.
pub const MOST: [usize; 4] = [4096, 256, 2048, 512];

/// More bytes than a line of an [`Event`] can have: each byte of a text takes six at most, as a
/// control character that is escaped.
pub const LONGEST: usize = 6 * (MOST[0] + MOST[1] + MOST[2] + MOST[3]) + 1024;

impl Event<'_> {
    /// Appends its line: a JSON object, with its line feed.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut line = Line::begin(out, self.time_millis);
        line.text("client", self.client);
        line.text("method", cut(self.method, 32));
        line.text("host", cut(self.host, MOST[1]));
        let (path, query) = self.path;
        let path = cut(path, MOST[0]);
        line.joined("path", path, cut(query, MOST[0] - path.len()));
        line.plain("status", self.status);
        line.some("referrer", cut(self.referrer, MOST[2]));
        line.some("agent", cut(self.agent, MOST[3]));
        line.plain("dnt", self.dnt);
        line.some("cache", self.cache.as_bytes());
        line.end();
    }
}

fn cut(text: &[u8], most: usize) -> &[u8] {
    text.get(..most).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: Event<'static> = Event {
        time_millis: 951_782_400_042,
        client: b"192.0.2.1",
        method: b"GET",
        host: b"example.com",
        path: (b"/a\"b", b"?x=1"),
        status: 302,
        referrer: b"",
        agent: b"curl",
        dnt: false,
        cache: "hit",
    };

    fn text(event: &Event<'_>) -> String {
        let mut out = Vec::new();
        event.write(&mut out);
        String::from_utf8(out).expect("it is JSON")
    }

    #[test]
    fn an_event_is_a_line_of_json() {
        assert_eq!(
            text(&EVENT),
            "{\"time\":951782400042,\"client\":\"192.0.2.1\",\"method\":\"GET\",\
             \"host\":\"example.com\",\"path\":\"/a\\\"b?x=1\",\"status\":302,\"agent\":\"curl\",\
             \"dnt\":false,\"cache\":\"hit\"}\n"
        );
        let other = Event { referrer: b"http://a/", agent: b"", dnt: true, cache: "", ..EVENT };
        let (text, end) = (text(&other), ",\"referrer\":\"http://a/\",\"dnt\":true}\n");
        assert!(text.ends_with(end), "{text}");
    }

    #[test]
    fn nobody_makes_it_long() {
        for byte in [0xff, b'"', b'a'] {
            let long = vec![byte; 40_000];
            let event = Event {
                method: &long,
                host: &long,
                path: (&long, &long),
                referrer: &long,
                agent: &long,
                ..EVENT
            };
            let text = text(&event);
            assert!(text.len() < LONGEST, "{}", text.len());
            assert_eq!(text.matches('\n').count(), 1);
        }
        let query = [b'q'; 5000];
        let path = text(&Event { path: (b"/p", &query), ..EVENT });
        assert!(path.contains(&format!("\"/p{}\"", "q".repeat(MOST[0] - 2))), "{path}");
    }
}
