//! Active checks: `health` of `[upstream.NAME]`.

use std::time::Duration;

use crate::host;
use crate::read::At;
use crate::rules::{Boolean, Fault, Integer, OneOrMany, Parsed, Time, Word};
use crate::section::section;
use crate::source::quoted;
use crate::text::Text;

section! {
    /// How servers are checked, whether there are requests or not: each by itself, and once for all
    /// workers. A server that fails is not used until it passes again; see `panic`. A check has
    /// exactly one of `path`, `tcp` and `grpc`.
    HealthEntry {
        /// An HTTP request for this path (and query) must be answered with one of `status`.
        optional "path" path: Box<str>, TARGET;
        /// With `path`: the method.
        default "method" method: &'static str = "GET", METHOD;
        /// With `path`: the host that is asked for. Without it, the server's address.
        optional "host" host: Box<str>, HOST;
        /// With `path`: the statuses that are good: one such as `"200"`, a range such as
        /// `"200-299"`, a class such as `"2xx"`, or a list of these. Without it, `"200-399"`.
        optional "status" status: Vec<At<(u16, u16)>>, STATUS;
        /// With `path`: text that must be in the first 64 KiB of the answer's body.
        optional "body" body: Box<str>, BODY;
        /// With `true`: a connection must come about, and nothing is asked over it.
        default "tcp" tcp: bool = false, Boolean;
        /// A service that must be `SERVING` when `grpc.health.v1.Health/Check` is asked (over
        /// HTTP/2 without TLS); `""` is the whole server.
        optional "grpc" grpc: Box<str>, SERVICE;
        /// Time between two checks of a server, give or take a tenth.
        default "every" every: Duration = Duration::from_secs(2), Time(Duration::from_millis(10), Duration::from_secs(60 * 60));
        /// Patience with one check. Not longer than `every`; the default is `every` where that is
        /// shorter.
        default "timeout" timeout: Duration = Duration::from_secs(1), Time(Duration::from_millis(1), Duration::from_secs(60 * 60));
        /// Good checks in a row after which a server is used again.
        default "rise" rise: u64 = 2, Integer(1, 100);
        /// Bad checks in a row after which a server is not used.
        default "fall" fall: u64 = 3, Integer(1, 100);
        /// The port that is asked instead of the server's own.
        optional "port" port: u64, Integer(1, 65_535);
    }
}

pub(super) const TARGET: Parsed<Box<str>> = Parsed {
    kind: "a path",
    example: "/healthz",
    limits: "at most 2048 bytes; may have a query",
    parse: target,
};

const METHOD: Word<&'static str> = Word {
    words: &["GET", "HEAD", "OPTIONS", "POST"],
    values: &["GET", "HEAD", "OPTIONS", "POST"],
};

pub(super) const HOST: Parsed<Box<str>> = Parsed {
    kind: "a host, with a port or without",
    example: "app.example.com",
    limits: "",
    parse: host::authority,
};

const STATUS: OneOrMany<Parsed<(u16, u16)>> = OneOrMany(
    Parsed { kind: "a status or a range of them", example: "200-399", limits: "", parse: status },
    32,
);

const BODY: Parsed<Box<str>> = Parsed {
    kind: "text",
    example: "ok",
    limits: "1 byte to 4 KiB",
    parse: |text| match text.value.len() {
        0 => {
            let help = "write what must be in the body, or take the key away";
            Err(Fault::whole(text, "this text is in every body".to_owned(), help))
        }
        1..=4096 => Ok(text.value.as_str().into()),
        length => {
            let message = format!("this text has {length} bytes");
            Err(Fault::whole(text, message, "at most 4KiB are allowed; a telling part is enough"))
        }
    },
};

const SERVICE: Parsed<Box<str>> = Parsed {
    kind: "the name of a gRPC service",
    example: "shop.v1.Cart",
    limits: "at most 256 bytes; may be empty",
    parse: |text| {
        let good = |b: u8| b.is_ascii_graphic();
        match text.value.len() <= 256 && text.value.bytes().all(good) {
            true => Ok(text.value.as_str().into()),
            false => {
                let message = format!("{} is not the name of a gRPC service", text.shown());
                let help = "write for example \"shop.v1.Cart\", or \"\" for the whole server";
                Err(Fault::whole(text, message, help))
            }
        }
    },
};

/// A target in origin form (RFC 9112 §3.2.1), sent as it is written.
fn target(text: &Text) -> Result<Box<str>, Fault> {
    let value = text.value.as_str();
    if value.len() > LONGEST_TARGET {
        let message = format!("{} is too long", text.shown());
        return Err(Fault::whole(text, message, "at most 2048 bytes are allowed"));
    }
    if !value.starts_with('/') {
        let message = format!("{} does not begin with `/`", text.shown());
        let help = match text.is_from_environment() || value.contains("://") {
            true => "write the path alone; the host goes into `host`, another port into `port`"
                .to_owned(),
            false => format!("a path begins with `/`: write \"/{value}\""),
        };
        return Err(Fault::whole(text, message, help));
    }
    let bad = |c: char| !c.is_ascii_graphic() || c == '#';
    match value.char_indices().find(|&(_, c)| bad(c)) {
        None => Ok(value.into()),
        Some((at, found)) => {
            let message = format!("{} cannot stand in a path", quoted(&found.to_string()));
            let help = "percent-encode it, as in `%20` for a space";
            Err(Fault::part(at..at + found.len_utf8(), message, help))
        }
    }
}

/// `200`, `200-399` or `2xx`.
fn status(text: &Text) -> Result<(u16, u16), Fault> {
    let value = text.value.as_str();
    let one = |text: &str| {
        let digits = text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u16>().ok().filter(|status| digits && (200..=599).contains(status))
    };
    let class = value.strip_suffix("xx").and_then(|class| one(&format!("{class}00")));
    let range = match (class, value.split_once('-')) {
        (Some(first), _) => Some((first, first + 99)),
        (None, Some((first, last))) => one(first).zip(one(last)),
        (None, None) => one(value).map(|status| (status, status)),
    };
    match range {
        Some((first, last)) if first <= last => Ok((first, last)),
        Some((first, last)) => {
            let message = format!("{} is a range without statuses", text.shown());
            let help = format!("write the smaller one first: \"{last}-{first}\"");
            Err(Fault::whole(text, message, help))
        }
        None => {
            let message = format!("{} is not a status or a range of them", text.shown());
            let help = "write for example \"200\", \"200-399\" or \"2xx\"; final answers have \
                        statuses from 200 to 599";
            Err(Fault::whole(text, message, help))
        }
    }
}

const LONGEST_TARGET: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses() {
        for (text, expect) in [
            ("200", (200, 200)),
            ("200-399", (200, 399)),
            ("204-204", (204, 204)),
            ("2xx", (200, 299)),
            ("5xx", (500, 599)),
        ] {
            assert_eq!(status(&Text::plain(text)), Ok(expect), "{text}");
        }
        for text in [
            "", "ok", "99", "600", "1xx", "6xx", "20", "+200", "200-", "-200", "200-600",
            "399-200", "2XX",
        ] {
            assert!(status(&Text::plain(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn targets() {
        for good in ["/", "/healthz", "/a?b=c&d", "/%20"] {
            assert_eq!(target(&Text::plain(good)), Ok(good.into()), "{good}");
        }
        for bad in ["", "healthz", "http://a/x", "/a b", "/a#b", "/ü", "/a\r\nb", &"/".repeat(2049)]
        {
            assert!(target(&Text::plain(bad)).is_err(), "{bad}");
        }
    }
}
