//! `[[route]]`.

use std::time::Duration;

use super::fallback::{FALLBACK, FallbackEntry};
use super::{CacheEntry, HedgeEntry, LONGEST, MIB, ReportEntry, RetryEntry, SHORTEST, UPSTREAM};
use crate::plan::{ErrorMatch, HostPattern, PathPattern, Template};
use crate::read::At;
use crate::rules::{Choice, Fault, Integer, List, Map, Pairs, Parsed, Short, Switch, Table, Time};
use crate::section::section;
use crate::source::quoted;
use crate::text::Text;
use crate::{header, host, name, path, template};

section! {
    /// A route. Routes are tried in the order of the file and the first whose conditions all hold
    /// takes the request; a route without conditions takes every request. Each has exactly one of
    /// `to`, `redirect` and `respond`.
    Route {
        /// Its name in logs and metrics. Without one it is `route-N`, N being its position from 1.
        optional "name" name: String, NAME;
        /// The host that the client asks for, in any case and with any port: a name, an address,
        /// or `*.` and a name for everything below that name at any depth, but not itself.
        optional "host" host: HostPattern, HOST;
        /// The path: `/exact`, or `/prefix/*` for that path and everything below it. See
        /// [path patterns](#path-patterns).
        optional "path" path: PathPattern, PATH;
        /// The methods, in upper case. `GET` brings `HEAD` with it.
        optional "methods" methods: Vec<At<Box<str>>>, List(METHOD, 1, 32);
        /// Header fields that must be there: `"*"` stands for any value, anything else for exactly
        /// that value.
        optional "match-headers" match_headers: Pairs<Box<str>, Box<str>>, MATCH_HEADERS;
        /// Query parameters that must be there, compared after percent-decoding: `"*"` stands for
        /// any value, anything else for exactly that value.
        optional "match-query" match_query: Pairs<Box<str>, Box<str>>, MATCH_QUERY;
        /// The upstream that the request is forwarded to.
        optional "to" to: Text, UPSTREAM;
        /// Where the client is redirected to: a [template](#templates), or a table when the status
        /// is not 308.
        optional "redirect" redirect: RedirectTo, Short::<RedirectTo>::new("to", "`redirect`");
        /// What Seawall answers itself: the text of a page, or a table.
        optional "respond" respond: RespondWith, Short::<RespondWith>::new("body", "`respond`");
        /// With `to`: taken off the front of the path before it is forwarded. `path` must ensure
        /// that the path begins with it.
        optional "strip-prefix" strip_prefix: Box<str>, PREFIX;
        /// With `to`: put before the path, after `strip-prefix` was taken off.
        optional "add-prefix" add_prefix: Box<str>, PREFIX;
        /// With `to`: how long the exchange may take until the head of the answer is there, all
        /// attempts together. Servers are told what is left of it in `X-Request-Deadline-Ms`, in
        /// milliseconds, and gRPC servers in `grpc-timeout`; trusted peers may ask for less with the
        /// same fields.
        default "timeout" timeout: Duration = Duration::from_secs(60), Time(SHORTEST, LONGEST);
        /// With `to`: what is tried again. The number of attempts, or a table.
        optional "retry" retry: RetryEntry, Short::<RetryEntry>::number("attempts", "`retry`");
        /// With `to`: when a second attempt is begun beside the first.
        optional "hedge" hedge: Option<HedgeEntry>, Switch::<HedgeEntry>::new("`hedge`");
        /// With `to`: what takes the place of a failed answer: a table, or a list of them that are
        /// tried in order.
        optional "fallback" fallback: Vec<At<FallbackEntry>>, FALLBACK;
        /// With `to`: which answers are kept, and for how long. Their `ttl`, or a table; `{}` does
        /// what the answers say themselves.
        optional "cache" cache: CacheEntry, Short::<CacheEntry>::empty("ttl", "`cache`");
        /// To whom answers are told, those that came out of the cache too: a table.
        optional "report" report: ReportEntry, Table::<ReportEntry>::new("`report`");
        /// Edits of header fields.
        nested "headers" headers: Headers;
        /// What is shown, in place of Seawall's own words, to requests of this route that Seawall
        /// refuses: a page for a refusal code, such as `connect-failed`, for a status, such as
        /// `504`, or for a class, `4xx` or `5xx`; the first of these three that is there. The
        /// bodies have at most 1 MiB together. Answers of servers are never touched.
        optional "errors" errors: Pairs<ErrorMatch, ErrorBody>, ERRORS;
    }
}

section! {
    /// Where the client is redirected to.
    RedirectTo {
        /// The new place: a [template](#templates) that begins with `https://`, `http://`,
        /// `{scheme}://`, `/` or `{path}`.
        required "to" to: Template, LOCATION;
        /// 301 and 308 are permanent, 302 and 307 temporary; 307 and 308 keep the method. 303
        /// leads to something else with GET.
        default "status" status: u64 = 308, Choice(&[301, 302, 303, 307, 308]);
    }
}

section! {
    /// What Seawall answers itself.
    RespondWith {
        /// The status code.
        default "status" status: u64 = 200, Integer(200, 599);
        /// The body. Without one the answer is empty.
        optional "body" body: Text, BODY;
        /// The media type of the body; `"text/plain; charset=utf-8"` when the key is absent.
        optional "type" content_type: Box<str>, MEDIA_TYPE;
    }
}

section! {
    /// What is shown in place of Seawall's own account of a refusal.
    ErrorBody {
        /// The body.
        required "body" body: Text, PAGE;
        /// The media type of the body; when the key is absent `"text/html; charset=utf-8"` if the
        /// body begins with `<`, else `"text/plain; charset=utf-8"`.
        optional "type" content_type: Box<str>, MEDIA_TYPE;
    }
}

section! {
    /// Edits of header fields.
    Headers {
        /// With `to`: of the request, before it is forwarded.
        nested "request" request: Edits;
        /// Of the answer, before it is sent; refusals are not edited.
        nested "response" response: Edits;
    }
}

section! {
    /// Edits of header fields, made in this order: remove, set, add. Fields of the connection and
    /// of a message's framing (`connection`, `content-length`, `transfer-encoding`, `te`,
    /// `trailer`, `upgrade`, `keep-alive`, `proxy-connection`) cannot be edited.
    Edits {
        /// Fields taken away.
        optional "remove" remove: Vec<At<Box<str>>>, List(FIELD_NAME, 0, 64);
        /// Fields whose value is replaced, or which are added when missing; values are
        /// [templates](#templates).
        optional "set" set: Pairs<Box<str>, Template>, FIELDS;
        /// Fields added beside those already there; values are [templates](#templates).
        optional "add" add: Pairs<Box<str>, Template>, FIELDS;
    }
}

const NAME: Parsed<String> = Parsed {
    kind: "a name",
    example: "api",
    limits: "1 to 64 of `a-z`, `0-9`, `-`, `_`, `.`",
    parse: |text| match name::fault(&text.value, "route name") {
        Ok(()) => Ok(text.value.clone()),
        Err((message, help)) => Err(Fault::whole(text, message, help)),
    },
};

const HOST: Parsed<HostPattern> =
    Parsed { kind: "a host", example: "shop.example.com", limits: "", parse: host::pattern };

const PATH: Parsed<PathPattern> = Parsed {
    kind: "a path pattern",
    example: "/api/*",
    limits: "at most 2048 bytes",
    parse: path::pattern,
};

const PREFIX: Parsed<Box<str>> = Parsed {
    kind: "a path without a slash at the end",
    example: "/api",
    limits: "at most 2048 bytes",
    parse: path::prefix,
};

const METHOD: Parsed<Box<str>> = Parsed {
    kind: "a method",
    example: "GET",
    limits: "not `CONNECT` or `TRACE`",
    parse: header::method,
};

const LOCATION: Parsed<Template> = Parsed {
    kind: "a template",
    example: "https://{host}{path}{query}",
    limits: "at most 8 KiB",
    parse: template::location,
};

const BODY: Parsed<Text> = Parsed {
    kind: "text",
    example: "Hello",
    limits: "at most 1 MiB",
    parse: |text| match text.value.len() as u64 <= MIB {
        true => Ok(text.clone()),
        false => {
            let message = format!("this body has {} bytes", text.value.len());
            Err(Fault::whole(
                text,
                message,
                "at most 1MiB is allowed; serve large files from an upstream",
            ))
        }
    },
};

const PAGE: Parsed<Text> = Parsed {
    kind: "text",
    example: "<h1>Back soon</h1>",
    limits: "1 byte to 1 MiB",
    parse: |text| match text.value.is_empty() {
        true => {
            let help = "write what is to be shown, or take the page away";
            Err(Fault::whole(text, "this page is empty".to_owned(), help))
        }
        false => (BODY.parse)(text),
    },
};

const ERRORS: Map<Short<ErrorBody>, ErrorMatch> = Map {
    keys: "refusal codes, statuses from 400 to 599, `4xx` or `5xx`",
    key: error_match,
    value: Short::<ErrorBody>::new("body", "a page of `errors`"),
    max: 64,
};

/// Reads a key of `errors`. Which codes there are is known to the doors alone.
pub(super) fn error_match(key: &str) -> Result<ErrorMatch, (String, String)> {
    match key {
        "4xx" => return Ok(ErrorMatch::Class(4)),
        "5xx" => return Ok(ErrorMatch::Class(5)),
        _ => {}
    }
    let is_number = key.len() == 3 && key.bytes().all(|b| b.is_ascii_digit());
    if let (true, Ok(status @ 400..=599)) = (is_number, key.parse()) {
        return Ok(ErrorMatch::Status(status));
    }
    let word = key.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    if word && (1..=64).contains(&key.len()) {
        return Ok(ErrorMatch::Code(key.into()));
    }
    let help = "write a status from 400 to 599, `4xx`, `5xx`, or a refusal code such as \
                `connect-failed`";
    Err((format!("{} is no kind of refusal", quoted(key)), help.to_owned()))
}

pub(super) const MEDIA_TYPE: Parsed<Box<str>> = Parsed {
    kind: "a media type",
    example: "text/html; charset=utf-8",
    limits: "",
    parse: header::media_type,
};

const FIELD_NAME: Parsed<Box<str>> = Parsed {
    kind: "the name of a header field",
    example: "x-powered-by",
    limits: "",
    parse: header::edited_name_text,
};

const FIELDS: Map<Parsed<Template>, Box<str>> = Map {
    keys: "header fields",
    key: header::edited_name,
    value: Parsed {
        kind: "a template",
        example: "{client-ip}",
        limits: "at most 8 KiB",
        parse: template::field,
    },
    max: 64,
};

const MATCH_HEADERS: Map<Parsed<Box<str>>, Box<str>> = Map {
    keys: "header fields",
    key: header::matched_name,
    value: Parsed {
        kind: "a value or \"*\"",
        example: "",
        limits: "at most 8 KiB",
        parse: header::matched_value,
    },
    max: 32,
};

const MATCH_QUERY: Map<Parsed<Box<str>>, Box<str>> = Map {
    keys: "query parameters",
    key: header::parameter_name,
    value: Parsed {
        kind: "a value or \"*\"",
        example: "",
        limits: "at most 8 KiB",
        parse: header::parameter_value,
    },
    max: 32,
};
