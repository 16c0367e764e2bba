//! The head of a request or an answer, from bytes that arrive in any portions.
//!
//! A head is parsed when the first bytes are there, which in practice is all of it; if it is not
//! complete then, again only when an empty line has come or its length has doubled. So the work
//! is linear in the length of the head however it is split, and nonsense is refused early.

use std::mem::MaybeUninit;

use httparse::{Header, Status};

use crate::body::BodyLength;
use crate::error::BadMessage;
use crate::fields::{decimal, is_token, list};
use crate::head::{
    ConnectionOptions, Method, RequestHead, ResponseHead, Span, TargetForm, Version,
};
use crate::headers::Headers;
use crate::known::Known;
use crate::target;

/// Limits on a head.
#[derive(Debug, Clone, Copy)]
pub struct HeadLimits {
    /// Bytes of the first line and the fields with their line ends.
    pub bytes: usize,
    /// Number of fields; at most [`MAX_HEADERS`].
    pub headers: usize,
}

/// The most header fields that can be asked for.
pub const MAX_HEADERS: usize = 1000;

/// Fields that there is room for at first. A head with more is parsed a second time: room for the
/// most there can be is 32 KiB of stack, and to touch its eight pages for each head costs more.
const USUAL_HEADERS: usize = 64;

/// How far an incomplete head has been looked at. Make a new one for each head.
#[derive(Debug, Default, Clone, Copy)]
pub struct HeadProgress {
    scanned: usize,
    parsed: usize,
}

impl HeadProgress {
    /// Whether it is worth parsing `buf`, in which nothing before the head is left.
    fn is_due(&mut self, buf: &[u8]) -> bool {
        let due = self.parsed == 0 || buf.len() >= 2 * self.parsed || self.has_empty_line(buf);
        if due {
            self.parsed = buf.len();
        }
        due
    }

    fn has_empty_line(&mut self, buf: &[u8]) -> bool {
        let from = self.scanned;
        self.scanned = buf.len();
        memchr::memchr_iter(b'\n', &buf[from..])
            .map(|at| at + from)
            .any(|at| buf[..at].ends_with(b"\n") || buf[..at].ends_with(b"\n\r"))
    }
}

/// Parses the head of a request at the start of `buf`. Gives the number of bytes it took, or
/// `None` while it is incomplete. Empty lines before it are skipped (RFC 9112 §2.2) and counted.
///
/// # Errors
///
/// Whatever [`BadMessage`] says of heads; the connection is of no use after that.
pub fn request(
    buf: &[u8],
    limits: HeadLimits,
    progress: &mut HeadProgress,
    head: &mut RequestHead,
) -> Result<Option<usize>, BadMessage> {
    let skipped = skip_empty_lines(buf)?;
    let buf = &buf[skipped..];
    if buf.is_empty() {
        return Ok(None);
    }
    if !progress.is_due(buf) {
        return within(buf, limits);
    }
    let length = match request_within::<USUAL_HEADERS>(buf, limits, head) {
        Err(BadMessage::TooManyHeaders) if limits.headers > USUAL_HEADERS => {
            request_within::<MAX_HEADERS>(buf, limits, head)
        }
        result => result,
    };
    Ok(length?.map(|length| skipped + length))
}

#[inline(never)]
fn request_within<const ROOM: usize>(
    buf: &[u8],
    limits: HeadLimits,
    head: &mut RequestHead,
) -> Result<Option<usize>, BadMessage> {
    let mut uninit = [const { MaybeUninit::<Header<'_>>::uninit() }; ROOM];
    let mut request = httparse::Request::new(&mut []);
    let room = limits.headers.min(ROOM);
    match request.parse_with_uninit_headers(buf, &mut uninit[..room]) {
        Ok(Status::Partial) => within(buf, limits),
        Err(error) => Err(diagnose(buf, error, BadMessage::RequestLine)),
        Ok(Status::Complete(length)) => {
            if length > limits.bytes {
                return Err(too_large(buf, limits));
            }
            let (Some(method), Some(target)) = (request.method, request.path) else {
                return Err(BadMessage::RequestLine);
            };
            let line = &buf[..length];
            let (_, facts) = take_fields(line, request.headers, &mut head.headers)?;
            head.version = version(request.version);
            head.method = Method::of(method.as_bytes());
            if head.method == Method::Other && Method::is_misspelt(method.as_bytes()) {
                return Err(BadMessage::MethodCase);
            }
            head.method_at = Span::new(0, method.len());
            let target_at = offset(line, target.as_bytes());
            understand_request(head, facts, (target_at, target.len()))?;
            Ok(Some(length))
        }
    }
}

/// Parses the head of an answer at the start of `buf`; `method` is what it answers. Gives the
/// number of bytes it took, or `None` while it is incomplete.
///
/// # Errors
///
/// Whatever [`BadMessage`] says of heads; the connection is of no use after that.
pub fn response(
    buf: &[u8],
    method: Method,
    limits: HeadLimits,
    progress: &mut HeadProgress,
    head: &mut ResponseHead,
) -> Result<Option<usize>, BadMessage> {
    // httparse would skip empty lines here too, but nothing may come before a status line.
    if matches!(buf.first(), Some(b'\r' | b'\n')) {
        return Err(BadMessage::StatusLine);
    }
    if buf.is_empty() {
        return Ok(None);
    }
    if !progress.is_due(buf) {
        return within(buf, limits);
    }
    match response_within::<USUAL_HEADERS>(buf, method, limits, head) {
        Err(BadMessage::TooManyHeaders) if limits.headers > USUAL_HEADERS => {
            response_within::<MAX_HEADERS>(buf, method, limits, head)
        }
        result => result,
    }
}

#[inline(never)]
fn response_within<const ROOM: usize>(
    buf: &[u8],
    method: Method,
    limits: HeadLimits,
    head: &mut ResponseHead,
) -> Result<Option<usize>, BadMessage> {
    let mut uninit = [const { MaybeUninit::<Header<'_>>::uninit() }; ROOM];
    let mut response = httparse::Response::new(&mut []);
    let room = limits.headers.min(ROOM);
    let parser = httparse::ParserConfig::default();
    match parser.parse_response_with_uninit_headers(&mut response, buf, &mut uninit[..room]) {
        Ok(Status::Partial) => within(buf, limits),
        Err(error) => Err(diagnose(buf, error, BadMessage::StatusLine)),
        Ok(Status::Complete(length)) => {
            if length > limits.bytes {
                return Err(BadMessage::HeadTooLarge);
            }
            let line = &buf[..length];
            let (start, facts) = take_fields(line, response.headers, &mut head.headers)?;
            head.version = version(response.version);
            head.status =
                response.code.filter(|code| *code >= 100).ok_or(BadMessage::StatusLine)?;
            // `HTTP/1.1 200 OK`: the reason begins at byte 13, if there is one.
            let reason = start.saturating_sub(2).saturating_sub(13);
            head.reason = Span::new(13.min(start), reason);
            understand_response(head, facts, method)?;
            Ok(Some(length))
        }
    }
}

/// Copies the fields of a parsed head into `headers`, checks that every line ends in CRLF, which
/// httparse does not ask for, and says where the first field begins and what the fields say.
fn take_fields(
    head: &[u8],
    parsed: &[Header<'_>],
    headers: &mut Headers,
) -> Result<(usize, Facts), BadMessage> {
    headers.begin(head, parsed.len());
    let mut facts = Facts::default();
    for field in parsed {
        let name_at = offset(head, field.name.as_bytes());
        if !head[..name_at].ends_with(b"\r\n") {
            return Err(BadMessage::BareLf);
        }
        if field.name.len() > u16::MAX as usize {
            return Err(BadMessage::FieldName);
        }
        // An empty value may point anywhere, so give it the place behind the name.
        let value_at = if field.value.is_empty() { name_at } else { offset(head, field.value) };
        let known = Known::of(field.name.as_bytes());
        headers.note((name_at, field.name.len()), (value_at, field.value.len()), known);
        facts.learn(known, field.value, value_at)?;
    }
    if !head.ends_with(b"\r\n\r\n") {
        return Err(BadMessage::BareLf);
    }
    let start = parsed.first().map(|field| offset(head, field.name.as_bytes()));
    let start = start.unwrap_or(head.len() - 2);
    if !head[..start].ends_with(b"\r\n") {
        return Err(BadMessage::BareLf);
    }
    Ok((start, facts.consistent()?))
}

fn offset(whole: &[u8], part: &[u8]) -> usize {
    part.as_ptr().addr().wrapping_sub(whole.as_ptr().addr()).min(whole.len())
}

fn version(minor: Option<u8>) -> Version {
    if minor == Some(0) { Version::Http10 } else { Version::Http11 }
}

/// What the fields say about framing and connection, gathered while they are taken.
#[derive(Default)]
struct Facts {
    hosts: usize,
    host: Span,
    content_length: Option<u64>,
    transfer_encodings: usize,
    chunked: bool,
    connection: ConnectionOptions,
    connection_options: usize,
}

/// The most options that `Connection` may have. Each is compared with each field when a message is
/// forwarded, which a head full of them would make the work of a thousand messages.
const MAX_CONNECTION_OPTIONS: usize = 32;

impl Facts {
    #[inline]
    fn learn(&mut self, known: Known, value: &[u8], value_at: usize) -> Result<(), BadMessage> {
        match known {
            Known::Host => {
                self.hosts += 1;
                self.host = Span::new(value_at, value.len());
            }
            Known::ContentLength => {
                self.content_length = Some(content_length(value, self.content_length)?);
            }
            Known::TransferEncoding => {
                self.transfer_encodings += 1;
                self.chunked = value.eq_ignore_ascii_case(b"chunked");
                if !self.chunked {
                    return Err(unknown_coding(value));
                }
            }
            Known::Connection => {
                self.connection_options += connection(value, &mut self.connection);
                if self.connection_options > MAX_CONNECTION_OPTIONS {
                    return Err(BadMessage::ConnectionOptions);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn consistent(self) -> Result<Facts, BadMessage> {
        if self.transfer_encodings > 1 {
            return Err(BadMessage::TransferEncoding);
        }
        if self.chunked && self.content_length.is_some() {
            return Err(BadMessage::BothFramings);
        }
        Ok(self)
    }
}

/// One `Content-Length` field: a number, or a list of the same number (RFC 9110 §8.6).
fn content_length(value: &[u8], before: Option<u64>) -> Result<u64, BadMessage> {
    if before.is_none()
        && let Some(length) = decimal(value)
    {
        return Ok(length);
    }
    let mut length = before;
    for member in value.split(|&b| b == b',') {
        let number = decimal(crate::fields::trim(member)).ok_or(BadMessage::ContentLength)?;
        if length.is_some_and(|length| length != number) {
            return Err(BadMessage::ContentLengthDiffers);
        }
        length = Some(number);
    }
    length.ok_or(BadMessage::ContentLength)
}

/// `gzip, chunked` is an honest message in a coding not spoken here (501); anything else that is
/// not `chunked` is an attempt at something (400).
fn unknown_coding(value: &[u8]) -> BadMessage {
    let honest = list(value).all(is_token)
        && list(value).last().is_some_and(|last| last.eq_ignore_ascii_case(b"chunked"))
        && list(value).filter(|coding| coding.eq_ignore_ascii_case(b"chunked")).count() == 1
        && list(value).count() == value.split(|&b| b == b',').count();
    if honest { BadMessage::CodingUnknown } else { BadMessage::TransferEncoding }
}

/// Gives the number of options.
fn connection(value: &[u8], options: &mut ConnectionOptions) -> usize {
    if value == b"keep-alive" {
        options.keep_alive = true;
        return 1;
    }
    let mut number = 0;
    for option in list(value) {
        number += 1;
        if option.eq_ignore_ascii_case(b"close") {
            options.close = true;
        } else if option.eq_ignore_ascii_case(b"keep-alive") {
            options.keep_alive = true;
        } else if option.eq_ignore_ascii_case(b"upgrade") {
            options.upgrade = true;
        } else {
            options.names_fields = true;
        }
    }
    number
}

fn understand_request(
    head: &mut RequestHead,
    facts: Facts,
    target: (usize, usize),
) -> Result<(), BadMessage> {
    head.connection = facts.connection;
    head.body = match (facts.chunked, facts.content_length) {
        (true, _) if head.version == Version::Http10 => return Err(BadMessage::TransferEncoding),
        (true, _) => BodyLength::Chunked,
        (false, Some(length)) => BodyLength::Length(length),
        (false, None) => BodyLength::Empty,
    };
    (head.expects_continue, head.expects_other) = (false, false);
    for expectation in head.headers.all_known(Known::Expect) {
        let known = expectation.eq_ignore_ascii_case(b"100-continue");
        // HTTP/1.0 has no interim answers, so there the field means nothing (RFC 9110 §10.1.1).
        head.expects_continue |= known && head.version == Version::Http11;
        head.expects_other |= !known;
    }
    head.expects_continue &= !head.expects_other;
    match facts.hosts {
        0 if head.version == Version::Http11 => return Err(BadMessage::HostMissing),
        0 | 1 => {}
        _ => return Err(BadMessage::HostRepeated),
    }
    head.authority = facts.host;
    if facts.hosts > 0 && !target::is_authority(head.authority()) {
        return Err(BadMessage::HostInvalid);
    }
    understand_target(head, target)?;
    if let Some(query) = target::ascii(head.query()) {
        head.query = Span::new(head.headers.keep(&query) as usize, query.len());
    }
    Ok(())
}

fn understand_target(
    head: &mut RequestHead,
    (at, length): (usize, usize),
) -> Result<(), BadMessage> {
    let target = &head.headers.text()[at..at + length];
    head.other_readings = [None, None];
    if target.contains(&b'#') {
        return Err(BadMessage::Fragment);
    }
    if target.iter().any(|&b| b <= b' ' || b == 0x7f) {
        return Err(BadMessage::Target);
    }
    let mut path_at = 0;
    head.form = match target {
        // CONNECT has this form and no other has (RFC 9112 §3.2.3).
        _ if head.method == Method::Connect => {
            if !target::is_authority(target) {
                return Err(BadMessage::Target);
            }
            head.authority = Span::new(at, length);
            TargetForm::Authority
        }
        [b'/', ..] => TargetForm::Origin,
        b"*" if head.method == Method::Options => TargetForm::Asterisk,
        _ => {
            let absolute = target::absolute(target)?;
            path_at = absolute.path;
            // It overrides the Host field (RFC 9112 §3.2.2).
            head.authority = Span::new(at + absolute.authority.0, absolute.authority.1);
            TargetForm::Absolute
        }
    };
    let rest = &target[path_at..];
    let query = memchr::memchr(b'?', rest).unwrap_or(rest.len());
    head.path = Span::new(at + path_at, query);
    head.query = Span::new(at + path_at + query, rest.len() - query);
    match head.form {
        TargetForm::Asterisk | TargetForm::Authority => Ok(()),
        _ if query == 0 => {
            // `http://host?query` names the root.
            let text: &[u8] =
                if head.method == Method::Options && rest.is_empty() { b"*" } else { b"/" };
            head.path = Span::new(head.headers.keep(text) as usize, 1);
            Ok(())
        }
        _ => {
            let Some(normal) = target::normalise(&rest[..query])? else { return Ok(()) };
            let readings = [Some(normal.path), normal.other_reading, normal.third_reading];
            let [path, other, third] = readings.map(|reading| {
                reading.map(|path| Span::new(head.headers.keep(&path) as usize, path.len()))
            });
            head.path = path.unwrap_or_default();
            head.other_readings = [other, third];
            Ok(())
        }
    }
}

fn understand_response(
    head: &mut ResponseHead,
    facts: Facts,
    method: Method,
) -> Result<(), BadMessage> {
    head.connection = facts.connection;
    head.content_length = facts.content_length;
    if facts.chunked && head.version == Version::Http10 {
        return Err(BadMessage::TransferEncoding);
    }
    // 1xx and 204 have no body and may not announce one (RFC 9110 §8.6, RFC 9112 §6.1). A server
    // that does it all the same may well send it, as the beginning of the next answer.
    let announces_body = facts.chunked || facts.content_length.is_some_and(|length| length > 0);
    if head.status < 200 && announces_body {
        return Err(BadMessage::BodyNotAllowed);
    }
    head.ends_in_doubt = head.status == 204 && announces_body;
    head.body = match (facts.chunked, facts.content_length) {
        _ if method == Method::Head || head.status < 200 => BodyLength::Empty,
        _ if matches!(head.status, 204 | 304) => BodyLength::Empty,
        (true, _) => BodyLength::Chunked,
        (false, Some(length)) => BodyLength::Length(length),
        (false, None) => BodyLength::UntilClose,
    };
    Ok(())
}

/// Skips CRLFs before a request line. A browser may send one; more than four is no browser.
fn skip_empty_lines(buf: &[u8]) -> Result<usize, BadMessage> {
    let mut at = 0;
    loop {
        match &buf[at..] {
            [b'\r', b'\n', ..] if at < 8 => at += 2,
            [b'\r'] => return Ok(buf.len()),
            [b'\r', b'\n', ..] => return Err(BadMessage::RequestLine),
            [b'\r', ..] => return Err(BadMessage::BareCr),
            [b'\n', ..] => return Err(BadMessage::BareLf),
            _ => return Ok(at),
        }
    }
}

fn within(buf: &[u8], limits: HeadLimits) -> Result<Option<usize>, BadMessage> {
    if buf.len() > limits.bytes { Err(too_large(buf, limits)) } else { Ok(None) }
}

fn too_large(buf: &[u8], limits: HeadLimits) -> BadMessage {
    let first_line_ends = memchr::memchr(b'\n', &buf[..limits.bytes.min(buf.len())]).is_some();
    // An answer has no target; that it is one is plain from its beginning.
    if first_line_ends || buf.starts_with(b"HTTP/1.") {
        BadMessage::HeadTooLarge
    } else {
        BadMessage::TargetTooLong
    }
}

/// Says precisely what httparse stumbled over. Only on the way to a refusal.
fn diagnose(buf: &[u8], error: httparse::Error, first_line: BadMessage) -> BadMessage {
    use httparse::Error;
    let line = buf.split(|&b| b == b'\n').next().unwrap_or(buf);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match error {
        Error::TooManyHeaders => return BadMessage::TooManyHeaders,
        Error::Token | Error::Status | Error::Version | Error::NewLine if line.contains(&b'\r') => {
            return BadMessage::BareCr;
        }
        Error::Token | Error::Status => return first_line,
        Error::Version => return diagnose_version(line, first_line),
        // Either more than an end of line behind the version, or a CR behind the last field.
        Error::NewLine => {
            let good = first_line == BadMessage::StatusLine
                || line.split(|&b| b == b' ').count() == 3
                    && (line.ends_with(b" HTTP/1.0") || line.ends_with(b" HTTP/1.1"));
            return if good { BadMessage::BareCr } else { diagnose_version(line, first_line) };
        }
        Error::HeaderName | Error::HeaderValue => {}
    }
    for line in buf.split(|&b| b == b'\n').skip(1) {
        let text = line.strip_suffix(b"\r").unwrap_or(line);
        let name = text.split(|&b| b == b':').next().unwrap_or(text);
        if text.contains(&b'\r') {
            return BadMessage::BareCr;
        }
        if matches!(text.first(), Some(b' ' | b'\t')) {
            return BadMessage::Folded;
        }
        if name.len() < text.len() && matches!(name.last(), Some(b' ' | b'\t')) {
            return BadMessage::SpaceBeforeColon;
        }
        if !text.is_empty() && !is_token(name) {
            return BadMessage::FieldName;
        }
        if !crate::headers::is_field_value(&text[name.len()..]) {
            return BadMessage::FieldValue;
        }
    }
    match error {
        Error::HeaderValue => BadMessage::FieldValue,
        _ => BadMessage::FieldName,
    }
}

/// `HTTP/2.0` is a version not spoken here; `HTTP/x` and white space in the target are nonsense.
fn diagnose_version(line: &[u8], first_line: BadMessage) -> BadMessage {
    let word = match first_line {
        BadMessage::StatusLine => line.split(|&b| b == b' ').next(),
        _ => line.rsplit(|&b| b == b' ').next(),
    };
    let words = line.split(|&b| b == b' ').count();
    let numbered = word.and_then(|word| word.strip_prefix(b"HTTP/")).is_some_and(|number| {
        number.first().is_some_and(u8::is_ascii_digit)
            && number != b"1.0"
            && number != b"1.1"
            && number.iter().all(|&b| b.is_ascii_digit() || b == b'.')
    });
    let shape = first_line == BadMessage::StatusLine || words == 3;
    if numbered && shape { BadMessage::Version } else { first_line }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often a head of these bytes is parsed when it comes `step` bytes at a time, and how many
    /// bytes that is in all.
    fn work(head: &[u8], step: usize) -> (usize, usize) {
        let mut progress = HeadProgress::default();
        let (mut parses, mut bytes, mut searched) = (0, 0, 0);
        for end in (step..head.len()).step_by(step).chain([head.len()]) {
            if progress.is_due(&head[..end]) {
                parses += 1;
                bytes += end;
            }
            assert!(searched <= progress.scanned && progress.scanned <= end);
            searched = progress.scanned;
        }
        (parses, bytes)
    }

    #[test]
    fn a_head_in_small_portions_is_parsed_a_logarithmic_number_of_times() {
        let line = |line: &str, end: &str| {
            format!("GET / HTTP/1.1\r\n{}{end}", line.repeat(32_768 / line.len())).into_bytes()
        };
        for head in [
            line("a: b\r\n", "\r\n"),
            line("a: b\r\n", ""),
            line("\r", "\n\r\n"),
            line("x\n", "\r\n"),
            line("a long line without an end, ", "\r\n\r\n"),
        ] {
            for step in [1, 2, 3, 7, 100, 1000, 16_384, head.len()] {
                let (parses, bytes) = work(&head, step);
                let doublings = head.len().ilog2() as usize;
                assert!(parses <= doublings + 2, "{parses} parses of {} bytes", head.len());
                // Each parse is at least twice as long as the one before, but for the last.
                assert!(bytes <= 3 * head.len(), "{bytes} bytes for {}", head.len());
            }
        }
    }

    #[test]
    fn the_search_for_an_empty_line_goes_on_where_it_stopped() {
        let mut progress = HeadProgress::default();
        assert!(progress.has_empty_line(b"a\r\n\r\nb"));
        assert!(!progress.has_empty_line(b"a\r\n\r\nbc\n"), "what was searched is left alone");
        assert!(progress.has_empty_line(b"a\r\n\r\nbc\n\n"), "what it begins with is not");
    }

    #[test]
    fn a_complete_head_is_parsed_at_its_last_byte() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n";
        for before in 1..head.len() {
            let mut progress = HeadProgress::default();
            let due = progress.is_due(&head[..before]);
            assert!(due, "the first bytes are always looked at");
            assert!(progress.is_due(head), "{before}");
        }
    }
}
