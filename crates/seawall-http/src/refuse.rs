//! Every way in which the door itself answers a request that it does not let through, or that no
//! server answered. The only place that knows their status codes.

use seawall_config::plan::{ErrorMatch, ErrorPage};
use seawall_h1::{BadMessage, Method, RequestHead, ResponseHead};
use seawall_telemetry::json;

/// Why a request got an answer of Seawall's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The request is malformed.
    BadRequest(BadMessage),
    /// The head is longer or has more fields than the limits.
    HeadTooLarge(BadMessage),
    /// The request target is longer than the limit.
    TargetTooLong,
    /// The request is in a version of HTTP that is not spoken here.
    VersionUnsupported,
    /// The request is in a transfer coding that is not spoken here.
    CodingUnsupported,
    /// `CONNECT` or `TRACE`.
    MethodRefused,
    /// An `Expect` other than `100-continue`.
    ExpectationUnknown,
    /// Two readings of the path lead to different routes.
    AmbiguousPath,
    /// The request went through here too often already.
    Loop,
    /// No route takes the request.
    NoRoute,
    /// The body is longer than the limit.
    BodyTooLarge,
    /// The head did not arrive in time.
    HeadTimeout,
    /// The body arrives too slowly.
    BodyTooSlow,
    /// The listener has as many connections as it may.
    TooManyConnections,
    /// The client has as many connections as it may.
    TooManyFromClient,
    /// No server of the upstream has an address, because its names do not resolve.
    Unresolved,
    /// No server of the upstream may be used: all are unreachable, fail, or are taken out.
    NoHealthyUpstream,
    /// The circuit breaker of the upstream is open; so many seconds until it asks again.
    BreakerOpen(u32),
    /// Every server of the upstream has as many requests or connections as it may, and nobody may
    /// wait.
    UpstreamFull,
    /// As many requests wait for the upstream as may.
    QueueFull,
    /// The request has waited for the upstream for too long.
    QueueTimeout,
    /// The time that the caller gave the request was over before it was sent to a server.
    DeadlinePassed,
    /// No connection to a server could be opened.
    ConnectFailed,
    /// No connection to a server could be opened in time.
    ConnectTimeout,
    /// The server closed the connection before it answered.
    UpstreamClosed,
    /// The answer of the server is malformed.
    BadAnswer(BadMessage),
    /// The server switched protocols without being asked to.
    BadUpgrade,
    /// The server did not answer in time.
    UpstreamTimeout,
    /// The client wants an answer from the cache only, and there is none.
    NotCached,
    /// The client left before it had an answer. Nobody sees this one; it is counted and logged.
    ClientGone,
}

/// Whose doing a refusal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The client's: it should not send the same again.
    Client,
    /// Nobody's: there is more to do than there is room for.
    Overload,
    /// The upstream's.
    Upstream,
}

/// What is said about a refusal, to clients and in the reference.
#[derive(Debug, Clone, Copy)]
pub struct Description {
    /// Stable name: metric label, `code` in the answer, anchor in the reference.
    pub code: &'static str,
    /// Status code of the answer.
    pub status: u16,
    /// Whose doing it is.
    pub kind: Kind,
    /// The `error` parameter of `Proxy-Status` (RFC 9209 §2.3).
    pub proxy_error: &'static str,
    /// A sentence for the client.
    pub text: &'static str,
    /// One line for the operator: what to do about it.
    pub remedy: &'static str,
    /// Seconds for `Retry-After`, before jitter; 0 for none.
    pub retry_after: u32,
}

impl Refusal {
    /// One of each kind, in the order of their numbers.
    pub const ALL: [Refusal; 30] = {
        use Refusal::*;
        [
            BadRequest(BadMessage::RequestLine),
            HeadTooLarge(BadMessage::HeadTooLarge),
            TargetTooLong,
            VersionUnsupported,
            CodingUnsupported,
            MethodRefused,
            ExpectationUnknown,
            AmbiguousPath,
            Loop,
            NoRoute,
            BodyTooLarge,
            HeadTimeout,
            BodyTooSlow,
            TooManyConnections,
            TooManyFromClient,
            Unresolved,
            NoHealthyUpstream,
            BreakerOpen(1),
            UpstreamFull,
            QueueFull,
            QueueTimeout,
            DeadlinePassed,
            ConnectFailed,
            ConnectTimeout,
            UpstreamClosed,
            BadAnswer(BadMessage::StatusLine),
            BadUpgrade,
            UpstreamTimeout,
            NotCached,
            ClientGone,
        ]
    };

    /// The position in [`Refusal::ALL`], for counting.
    pub fn number(self) -> usize {
        let same = |other: &Refusal| std::mem::discriminant(other) == std::mem::discriminant(&self);
        Refusal::ALL.iter().position(same).unwrap_or(0)
    }

    /// What a bad request is refused as.
    pub(crate) fn of_request(bad: BadMessage) -> Refusal {
        match bad {
            BadMessage::HeadTooLarge | BadMessage::TooManyHeaders => Refusal::HeadTooLarge(bad),
            BadMessage::TargetTooLong => Refusal::TargetTooLong,
            BadMessage::Version => Refusal::VersionUnsupported,
            BadMessage::CodingUnknown => Refusal::CodingUnsupported,
            BadMessage::AmbiguousPath => Refusal::AmbiguousPath,
            _ => Refusal::BadRequest(bad),
        }
    }

    /// Everything that is said about it.
    pub fn description(self) -> Description {
        let row = |code, status, kind, proxy_error, text, remedy, retry_after| Description {
            code,
            status,
            kind,
            proxy_error,
            text,
            remedy,
            retry_after,
        };
        use Kind::*;
        match self {
            Refusal::BadRequest(_) => row(
                "bad-request",
                400,
                Client,
                "http_request_error",
                "The request is malformed.",
                "The client or something before Seawall sends broken HTTP; the detail names the rule. Nothing in the configuration relaxes these rules, since each of them has been used to smuggle requests.",
                0,
            ),
            Refusal::HeadTooLarge(_) => row(
                "head-too-large",
                431,
                Client,
                "http_request_error",
                "The header of the request is larger than this server accepts.",
                "Often cookies that have grown; else raise `limits.head` or `limits.headers` of the listener.",
                0,
            ),
            Refusal::TargetTooLong => row(
                "target-too-long",
                414,
                Client,
                "http_request_error",
                "The address of the request is longer than this server accepts.",
                "Raise `limits.head` of the listener, or send the data in a body.",
                0,
            ),
            Refusal::VersionUnsupported => row(
                "version-unsupported",
                505,
                Client,
                "http_request_error",
                "This server speaks HTTP/1.1 here.",
                "The client speaks HTTP/2 or another protocol to a listener that does not.",
                0,
            ),
            Refusal::CodingUnsupported => row(
                "coding-unsupported",
                501,
                Client,
                "http_request_error",
                "The transfer coding of the request is not supported.",
                "Send the body in chunks without compressing the transfer; `Content-Encoding` is not affected.",
                0,
            ),
            Refusal::MethodRefused => row(
                "method-refused",
                405,
                Client,
                "http_request_denied",
                "This method is not allowed.",
                "`CONNECT` asks for a forward proxy, which Seawall is not; `TRACE` shows clients what only servers should see.",
                0,
            ),
            Refusal::ExpectationUnknown => row(
                "expectation-unknown",
                417,
                Client,
                "http_request_error",
                "The Expect field of the request is not understood.",
                "Only `Expect: 100-continue` has a meaning in HTTP.",
                0,
            ),
            Refusal::AmbiguousPath => row(
                "ambiguous-path",
                400,
                Client,
                "http_request_denied",
                "The path of the request can be read in two ways that are treated differently.",
                "Encoded slashes, empty segments or path parameters make the path match one route for some servers and another for others; see docs/guide/routes.md.",
                0,
            ),
            Refusal::Loop => row(
                "loop",
                508,
                Upstream,
                "proxy_loop_detected",
                "The request has passed through the same proxies too often.",
                "An upstream points back at Seawall; follow the `Via` field of the request.",
                0,
            ),
            Refusal::NoRoute => row(
                "no-route",
                404,
                Client,
                "destination_not_found",
                "There is nothing at this address.",
                "No `[[route]]` takes this host, path, method, header and query; a last route without conditions takes everything.",
                0,
            ),
            Refusal::BodyTooLarge => row(
                "body-too-large",
                413,
                Client,
                "http_request_denied",
                "The body of the request is larger than this server accepts.",
                "Raise `limits.body` of the listener.",
                0,
            ),
            Refusal::HeadTimeout => row(
                "head-timeout",
                408,
                Client,
                "http_request_error",
                "The header of the request did not arrive in time.",
                "A slow or malicious client; `timeouts.head` of the listener says how long it may take.",
                0,
            ),
            Refusal::BodyTooSlow => row(
                "body-too-slow",
                408,
                Client,
                "http_request_error",
                "The body of the request arrives too slowly.",
                "A slow or malicious client; `limits.progress` bytes must arrive in each `timeouts.body` of the listener.",
                0,
            ),
            Refusal::TooManyConnections => row(
                "too-many-connections",
                503,
                Overload,
                "connection_limit_reached",
                "This server has too many connections.",
                "Raise `limits.connections` of the listener if the machine has the memory.",
                5,
            ),
            Refusal::TooManyFromClient => row(
                "too-many-from-client",
                429,
                Overload,
                "connection_limit_reached",
                "There are too many connections from your address.",
                "One address holds `limits.connections-per-client` connections; add proxies in front to `server.trust`.",
                5,
            ),
            Refusal::Unresolved => row(
                "unresolved",
                503,
                Upstream,
                "dns_error",
                "The server behind this address cannot be found.",
                "No name of the upstream's `servers` resolves; see the log for the answer of the DNS server.",
                5,
            ),
            Refusal::NoHealthyUpstream => row(
                "no-healthy-upstream",
                503,
                Upstream,
                "destination_unavailable",
                "No server behind this address is available.",
                "All servers of the upstream are unreachable, fail their checks, or are taken out; `/api/upstreams` says which and why.",
                2,
            ),
            Refusal::BreakerOpen(_) => row(
                "breaker-open",
                503,
                Upstream,
                "destination_unavailable",
                "The servers behind this address are failing and are given time to recover.",
                "The circuit breaker of the upstream is open, since too many requests failed or were slow; the log says how many. It probes by itself and lets more through as they succeed.",
                1,
            ),
            Refusal::UpstreamFull => row(
                "upstream-full",
                503,
                Overload,
                "connection_limit_reached",
                "The servers behind this address are busy.",
                "Every server has as many requests as `max-in-flight` or as many connections as `limits.connections` of the upstream says: add servers, make them faster, raise it, or let requests wait in a `queue`.",
                2,
            ),
            Refusal::QueueFull => row(
                "queue-full",
                503,
                Overload,
                "connection_limit_reached",
                "The servers behind this address are busy, and too many requests wait for them already.",
                "As many requests wait as `queue` of the upstream allows: add servers or make them faster; a longer queue only makes everybody wait longer.",
                2,
            ),
            Refusal::QueueTimeout => row(
                "queue-timeout",
                503,
                Overload,
                "connection_limit_reached",
                "The servers behind this address were busy for too long.",
                "The request waited for `queue.wait` of the upstream, or was dropped because under overload the newest are served first: add servers or make them faster.",
                2,
            ),
            Refusal::DeadlinePassed => row(
                "deadline-passed",
                504,
                Client,
                "http_response_timeout",
                "The time that this request was given was over before it could be sent to a server.",
                "`X-Request-Deadline-Ms` or `grpc-timeout` of a trusted caller left no time; the caller should ask for more or begin earlier.",
                0,
            ),
            Refusal::ConnectFailed => row(
                "connect-failed",
                502,
                Upstream,
                "connection_refused",
                "The server behind this address cannot be reached.",
                "No server of the upstream accepts connections: is the application running, and is `servers` right?",
                2,
            ),
            Refusal::ConnectTimeout => row(
                "connect-timeout",
                504,
                Upstream,
                "connection_timeout",
                "The server behind this address cannot be reached in time.",
                "Packets to the server vanish (a firewall, a dead machine) or its backlog is full; `connect-timeout` of the upstream says how long to try.",
                2,
            ),
            Refusal::UpstreamClosed => row(
                "upstream-closed",
                502,
                Upstream,
                "connection_terminated",
                "The server behind this address closed the connection without an answer.",
                "The application crashed or was stopped during the request, or closes connections it should keep; look into its log.",
                0,
            ),
            Refusal::BadAnswer(_) => row(
                "bad-answer",
                502,
                Upstream,
                "http_protocol_error",
                "The server behind this address sent an answer that is not HTTP.",
                "The detail names the rule that the answer breaks. Is something else listening at that address?",
                0,
            ),
            Refusal::BadUpgrade => row(
                "bad-upgrade",
                502,
                Upstream,
                "http_upgrade_failed",
                "The server behind this address switched protocols without being asked to.",
                "The application answers 101 to a request without `Upgrade`.",
                0,
            ),
            Refusal::UpstreamTimeout => row(
                "upstream-timeout",
                504,
                Upstream,
                "http_response_timeout",
                "The server behind this address did not answer in time.",
                "The application is slow or stuck; `timeout` of the route says how long it may take.",
                0,
            ),
            Refusal::NotCached => row(
                "not-cached",
                504,
                Client,
                "http_request_denied",
                "There is no stored answer to this request.",
                "The request says `Cache-Control: only-if-cached` (RFC 9111 §5.2.1.7): whoever sends that wants no other answer.",
                0,
            ),
            Refusal::ClientGone => row(
                "client-gone",
                499,
                Client,
                "connection_terminated",
                "The client left before it had an answer.",
                "Nobody sees this answer; it is only counted and logged. Many of them mean that clients lose patience: look at the durations of the route.",
                0,
            ),
        }
    }

    /// What exactly was wrong, where there is more to say than the code.
    pub fn detail(self) -> Option<BadMessage> {
        match self {
            Refusal::BadRequest(bad) | Refusal::HeadTooLarge(bad) | Refusal::BadAnswer(bad) => {
                Some(bad)
            }
            _ => None,
        }
    }

    /// Builds the answer: `head` is filled, and the content given back. `jitter` is any number.
    pub(crate) fn answer(
        self,
        request: Option<&RequestHead>,
        jitter: u64,
        head: &mut ResponseHead,
    ) -> Vec<u8> {
        let description = self.description();
        let (kind, content) = match request.map_or(Form::Problem, Form::for_request) {
            Form::Page => ("text/html; charset=utf-8", self.page(&description)),
            Form::Problem => ("application/problem+json", self.problem(&description)),
            Form::Text => ("text/plain; charset=utf-8", self.plain(&description)),
        };
        self.begin_answer(kind, jitter, head);
        content
    }

    /// The page among those of a route that is meant for this refusal: the most exact one.
    pub(crate) fn page_among(self, pages: &[ErrorPage]) -> Option<&ErrorPage> {
        let status = self.description().status;
        let rank = |page: &ErrorPage| {
            let rank = match &page.when {
                ErrorMatch::Code(_) => 0,
                ErrorMatch::Status(_) => 1,
                ErrorMatch::Class(_) => 2,
            };
            is_meant(&page.when, status, Some(self)).then_some(rank)
        };
        let fitting = pages.iter().filter_map(|page| Some((rank(page)?, page)));
        fitting.min_by_key(|(rank, _)| *rank).map(|(_, page)| page)
    }

    /// Whether an answer is a refusal of another Seawall, that it cannot or will not ask further:
    /// another one may get more out of the origin.
    pub(crate) fn is_of_tier(answer: &ResponseHead) -> bool {
        let is_ours = |value: &[u8]| value.starts_with(b"seawall; error=");
        matches!(answer.status, 502..=504 | 508)
            && answer.headers.first(b"proxy-status").is_some_and(is_ours)
    }

    /// Fills the head of an answer whose content is of this media type. `jitter` is any number.
    pub(crate) fn begin_answer(self, content_type: &str, jitter: u64, head: &mut ResponseHead) {
        let description = self.description();
        head.begin(description.status);
        let fields = &mut head.headers;
        fields.push(b"Content-Type", content_type.as_bytes());
        fields.push(b"Cache-Control", b"no-store");
        let status = match self.detail() {
            None => format!(
                "seawall; error={}; details=\"{}\"",
                description.proxy_error, description.code
            ),
            Some(bad) => format!(
                "seawall; error={}; details=\"{}: {}\"",
                description.proxy_error,
                description.code,
                bad.code()
            ),
        };
        fields.push(b"Proxy-Status", status.as_bytes());
        let retry_after = match self {
            Refusal::BreakerOpen(seconds) => seconds.max(1),
            _ => description.retry_after,
        };
        if retry_after > 0 {
            // Up to as much again, so that those refused together do not come back together.
            let seconds = u64::from(retry_after);
            let seconds = seconds + jitter % (seconds + 1);
            fields.push(b"Retry-After", seconds.to_string().as_bytes());
        }
        if self == Refusal::MethodRefused {
            fields.push(b"Allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
        }
    }

    /// For people at terminals and for logs: status, sentence, detail if there is one, code.
    fn plain(self, description: &Description) -> Vec<u8> {
        let Description { code, status, text, .. } = description;
        let title = seawall_h1::encode::reason(*status);
        let detail = self.detail().map(|bad| format!("Detail: {bad}.\n")).unwrap_or_default();
        format!("{status} {title}\n{text}\n{detail}{code}\n").into_bytes()
    }

    /// RFC 9457.
    fn problem(self, description: &Description) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        out.extend_from_slice(b"{\"type\":\"urn:seawall:refusal:");
        out.extend_from_slice(description.code.as_bytes());
        out.extend_from_slice(b"\",\"title\":");
        json::string(description.text.as_bytes(), &mut out);
        out.extend_from_slice(format!(",\"status\":{}", description.status).as_bytes());
        if let Some(bad) = self.detail() {
            out.extend_from_slice(b",\"detail\":");
            json::string(bad.to_string().as_bytes(), &mut out);
        }
        out.extend_from_slice(b",\"code\":");
        json::string(description.code.as_bytes(), &mut out);
        out.extend_from_slice(b"}\n");
        out
    }

    /// All text on it is our own, so nothing needs escaping.
    fn page(self, description: &Description) -> Vec<u8> {
        let Description { code, status, text, .. } = description;
        let title = seawall_h1::encode::reason(*status);
        let detail = self.detail().map(|bad| format!("<p>Detail: {bad}.</p>")).unwrap_or_default();
        format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width\"><title>{status} {title}</title>\
             <style>:root{{color-scheme:light dark}}body{{font:1rem/1.6 system-ui,sans-serif;\
             max-width:34rem;margin:18vh auto 0;padding:0 1.5rem}}h1{{font-size:1.5rem}}\
             small{{opacity:.65}}</style><h1>{title}</h1><p>{text}</p>{detail}\
             <small>{status} &middot; {code}</small></html>\n"
        )
        .into_bytes()
    }
}

/// Whether an answer with this status, made for this refusal if it is of our own, is meant.
pub(crate) fn is_meant(when: &ErrorMatch, status: u16, refusal: Option<Refusal>) -> bool {
    match when {
        ErrorMatch::Code(code) => refusal.is_some_and(|it| *it.description().code == **code),
        ErrorMatch::Status(of) => *of == status,
        ErrorMatch::Class(of) => u16::from(*of) == status / 100,
    }
}

/// What a refusal looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// HTML, for browsers: `text/html` is named in `Accept`, which programs do not do.
    Page,
    /// `application/problem+json`, for everyone else.
    Problem,
    /// Plain text, for those who name it and neither of the others.
    Text,
}

impl Form {
    /// What the client asks for. Wildcards ask for nothing in particular.
    fn for_request(request: &RequestHead) -> Form {
        let (mut html, mut json, mut text) = (false, false, false);
        for value in request.headers.all_known(seawall_h1::Known::Accept) {
            for element in value.split(|&b| b == b',') {
                let mut parts = element.split(|&b| b == b';').map(seawall_h1::fields::trim);
                let range = parts.next().unwrap_or_default();
                if parts.any(is_weight_zero) {
                    continue;
                }
                let is = |name: &str| range.eq_ignore_ascii_case(name.as_bytes());
                html |= is("text/html");
                json |= is("application/json") || is("application/problem+json");
                text |= is("text/plain");
            }
        }
        let shows_pages = matches!(request.method, Method::Get | Method::Head | Method::Post);
        match () {
            () if html && shows_pages => Form::Page,
            () if text && !html && !json => Form::Text,
            () => Form::Problem,
        }
    }
}

/// Whether a parameter says "not that one" (RFC 9110 §12.4.2).
fn is_weight_zero(parameter: &[u8]) -> bool {
    match parameter {
        [b'q' | b'Q', b'=', weight @ ..] => weight.iter().all(|b| matches!(b, b'0' | b'.')),
        _ => false,
    }
}

/// The reference page of all refusals, in Markdown.
pub fn reference() -> String {
    let mut page = String::from(
        "# Refusals\n\n\
         Every answer that Seawall makes itself instead of forwarding one carries a `Proxy-Status` \
         field (RFC 9209) and a stable code: in the body (`application/problem+json`, a page \
         for browsers, or plain text for those who ask for that), as label of `seawall_refusals_total{code=…}`, and in the access log.\n\n\
         | code | status | whose doing | `Retry-After` |\n|---|---|---|---|\n",
    );
    let row = |refusal: &Refusal| refusal.description();
    for each in Refusal::ALL.iter().map(row) {
        let kind = match each.kind {
            Kind::Client => "client",
            Kind::Overload => "overload",
            Kind::Upstream => "upstream",
        };
        let retry = match each.retry_after {
            0 => "–".to_owned(),
            seconds => format!("{seconds}–{} s", 2 * seconds),
        };
        page += &format!("| [`{0}`](#{0}) | {1} | {kind} | {retry} |\n", each.code, each.status);
    }
    for each in Refusal::ALL.iter().map(row) {
        page +=
            &format!("\n## {}\n\n{} — {}\n\n{}\n", each.code, each.status, each.text, each.remedy);
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_codes_are_distinct_and_in_order() {
        for (at, refusal) in Refusal::ALL.iter().enumerate() {
            assert_eq!(refusal.number(), at, "{refusal:?}");
        }
        let mut codes: Vec<_> =
            Refusal::ALL.iter().map(|refusal| refusal.description().code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Refusal::ALL.len());
        assert!(codes.len() <= seawall_telemetry::metrics::MAX_REFUSALS);
    }

    #[test]
    fn the_form_follows_accept() {
        let form = |method: &str, accept: &str| {
            let message = format!("{method} / HTTP/1.1\r\nhost: a\r\n{accept}\r\n");
            let mut head = RequestHead::default();
            let limits = seawall_h1::HeadLimits { bytes: 1000, headers: 10 };
            let mut progress = seawall_h1::HeadProgress::default();
            let parsed =
                seawall_h1::parse::request(message.as_bytes(), limits, &mut progress, &mut head);
            assert_eq!(parsed, Ok(Some(message.len())));
            Form::for_request(&head)
        };
        for (accept, expect) in [
            ("", Form::Problem),
            ("accept: */*\r\n", Form::Problem),
            ("accept: text/*\r\n", Form::Problem),
            ("accept: application/json, text/plain, */*\r\n", Form::Problem),
            ("accept: text/plain, application/problem+json\r\n", Form::Problem),
            ("accept: text/plain;q=0\r\n", Form::Problem),
            ("accept: text/plain\r\n", Form::Text),
            ("accept: Text/Plain ; q=0.5, */*;q=0.1\r\n", Form::Text),
            ("accept: text/plain, text/html;q=0.000\r\n", Form::Text),
            ("accept: text/plain\r\naccept: application/json\r\n", Form::Problem),
            ("accept: application/xml, TEXT/HTML;level=1\r\n", Form::Page),
            ("accept: text/plain, text/html\r\n", Form::Page),
        ] {
            assert_eq!(form("GET", accept), expect, "{accept}");
        }
        assert_eq!(form("PUT", "accept: text/html, text/plain\r\n"), Form::Problem);
        assert_eq!(form("PUT", "accept: text/plain\r\n"), Form::Text);
    }

    #[test]
    fn the_most_exact_page_is_taken() {
        let page = |when| ErrorPage {
            when,
            body: b"x".as_slice().into(),
            content_type: "text/plain".into(),
        };
        let pages = [
            page(ErrorMatch::Class(5)),
            page(ErrorMatch::Status(502)),
            page(ErrorMatch::Code("connect-failed".into())),
        ];
        let found = |refusal: Refusal| refusal.page_among(&pages).map(|page| &page.when);
        assert_eq!(found(Refusal::UpstreamTimeout), Some(&pages[0].when));
        assert_eq!(found(Refusal::UpstreamClosed), Some(&pages[1].when));
        assert_eq!(found(Refusal::ConnectFailed), Some(&pages[2].when));
        assert_eq!(found(Refusal::BodyTooLarge), None);
    }

    #[test]
    fn an_answer_explains_itself() {
        let mut head = ResponseHead::default();
        let content = Refusal::BadRequest(BadMessage::BareLf).answer(None, 0, &mut head);
        assert_eq!(head.status, 400);
        let status = head.headers.first(b"proxy-status").map(String::from_utf8_lossy);
        let expect = "seawall; error=http_request_error; details=\"bad-request: bare-lf\"";
        assert_eq!(status.as_deref(), Some(expect));
        let content = String::from_utf8_lossy(&content).into_owned();
        assert!(
            content.contains("\"detail\":\"a line ends in a bare LF; CRLF is due\""),
            "{content}"
        );
        for jitter in 0..100 {
            Refusal::ConnectFailed.answer(None, jitter, &mut head);
            let after = head.headers.first(b"retry-after").map(String::from_utf8_lossy);
            assert!(matches!(after.as_deref(), Some("2" | "3" | "4")), "{after:?}");
        }
    }
}
