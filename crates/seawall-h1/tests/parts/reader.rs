//! Reads whole messages from bytes that arrive in any portions, as a connection would: head, body,
//! trailers. Every test and fuzz target of this crate looks at the codec through it.
//!
//! Never decides what is right: it only drives the codec and writes down what came of it.

use seawall_h1::head::TargetForm;
use seawall_h1::{
    BadMessage, BodyDecoder, BodyLength, HeadLimits, HeadProgress, Headers, Method, Piece,
    RequestHead, ResponseHead, Version, parse,
};

/// One field, name as written.
pub(crate) type FieldText = (Vec<u8>, Vec<u8>);

/// Everything the codec says about a request. What is said here must not depend on how the bytes
/// were split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: Vec<u8>,
    pub(crate) path: Vec<u8>,
    pub(crate) query: Vec<u8>,
    pub(crate) authority: Vec<u8>,
    pub(crate) other_readings: Vec<Vec<u8>>,
    pub(crate) form: TargetForm,
    pub(crate) version: Version,
    pub(crate) framing: BodyLength,
    pub(crate) keeps_alive: bool,
    pub(crate) upgrade: Option<Vec<u8>>,
    pub(crate) expects: (bool, bool),
    pub(crate) fields: Vec<FieldText>,
    pub(crate) body: Body,
}

/// Everything the codec says about an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) reason: Vec<u8>,
    pub(crate) version: Version,
    pub(crate) framing: BodyLength,
    pub(crate) content_length: Option<u64>,
    pub(crate) keeps_alive: bool,
    pub(crate) interim: bool,
    pub(crate) fields: Vec<FieldText>,
    pub(crate) body: Body,
}

/// A body that was read to its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Body {
    pub(crate) content: Vec<u8>,
    pub(crate) trailers: Vec<FieldText>,
    /// Bytes from the beginning of the message to its end.
    pub(crate) taken: usize,
}

/// One request that arrives in portions which end at `cuts` and at the end of `input`. An input
/// that ends too early is [`BadMessage::Truncated`], as the door has it.
pub(crate) fn request(
    input: &[u8],
    cuts: impl IntoIterator<Item = usize>,
    limits: HeadLimits,
) -> Result<Request, BadMessage> {
    let mut portions = Portions::new(input, cuts);
    let (mut head, mut progress) = (RequestHead::default(), HeadProgress::default());
    let taken = loop {
        match parse::request(portions.arrived(), limits, &mut progress, &mut head)? {
            Some(taken) => break taken,
            None => portions.next()?,
        }
    };
    assert_bounded(&head.headers, limits);
    assert_written_plainly(&head.headers);
    let body = body(portions, taken, head.body, limits)?;
    Ok(Request {
        method: head.method_text().to_vec(),
        path: head.path().to_vec(),
        query: head.query().to_vec(),
        authority: head.authority().to_vec(),
        other_readings: head.other_readings().map(<[u8]>::to_vec).collect(),
        form: head.form,
        version: head.version,
        framing: head.body,
        keeps_alive: head.keeps_alive(),
        upgrade: head.upgrade().map(<[u8]>::to_vec),
        expects: (head.expects_continue, head.expects_other),
        fields: fields(&head.headers),
        body,
    })
}

/// One answer to a request with `method`, as [`request`] reads one. The end of `input` is the end
/// of the connection.
pub(crate) fn response(
    input: &[u8],
    cuts: impl IntoIterator<Item = usize>,
    method: Method,
    limits: HeadLimits,
) -> Result<Response, BadMessage> {
    let mut portions = Portions::new(input, cuts);
    let (mut head, mut progress) = (ResponseHead::default(), HeadProgress::default());
    let taken = loop {
        match parse::response(portions.arrived(), method, limits, &mut progress, &mut head)? {
            Some(taken) => break taken,
            None => portions.next()?,
        }
    };
    assert_bounded(&head.headers, limits);
    assert_written_plainly(&head.headers);
    let body = body(portions, taken, head.body, limits)?;
    Ok(Response {
        status: head.status,
        reason: head.reason().to_vec(),
        version: head.version,
        framing: head.body,
        content_length: head.content_length,
        keeps_alive: head.keeps_alive(),
        interim: head.is_interim(),
        fields: fields(&head.headers),
        body,
    })
}

/// A chunked body alone.
pub(crate) fn chunked(
    input: &[u8],
    cuts: impl IntoIterator<Item = usize>,
    limits: HeadLimits,
) -> Result<Body, BadMessage> {
    body(Portions::new(input, cuts), 0, BodyLength::Chunked, limits)
}

/// All requests on one connection, up to the first that is not one. An input that ends between two
/// requests ends without an error.
pub(crate) fn requests(input: &[u8], limits: HeadLimits) -> (Vec<Request>, Option<BadMessage>) {
    let (mut requests, mut from) = (Vec::new(), 0);
    while from < input.len() {
        match request(&input[from..], [], limits) {
            Ok(request) => {
                from += request.body.taken;
                let last = !request.keeps_alive;
                requests.push(request);
                if last {
                    break;
                }
            }
            Err(bad) => return (requests, Some(bad)),
        }
    }
    (requests, None)
}

/// A head keeps its bytes, at most three readings of its path, each byte of which may have become
/// three, and a slot for each field; a growing list is at most twice as large as it must be.
fn assert_bounded(headers: &Headers, limits: HeadLimits) {
    let most = 2 * (limits.bytes + 3 * 3 * limits.bytes + 32 * limits.headers);
    assert!(headers.capacity() <= most, "{} bytes are kept", headers.capacity());
}

/// What is written of a parsed head are its fields, however they came: lines that came as they go
/// are copied, which must make no difference.
fn assert_written_plainly(headers: &Headers) {
    let (mut written, mut plain) = (Vec::new(), Vec::new());
    headers.write(|_| true, &mut written);
    for field in headers.iter() {
        plain.extend_from_slice(&[field.name, b": ", field.value, b"\r\n"].concat());
    }
    assert_eq!(written, plain, "{}", plain.escape_ascii());
}

/// The names and values of a list.
pub(crate) fn fields(headers: &Headers) -> Vec<FieldText> {
    headers.iter().map(|field| (field.name.to_vec(), field.value.to_vec())).collect()
}

fn body(
    mut portions: Portions<'_, impl Iterator<Item = usize>>,
    mut taken: usize,
    length: BodyLength,
    limits: HeadLimits,
) -> Result<Body, BadMessage> {
    let mut decoder = BodyDecoder::new(length, limits);
    let mut content = Vec::new();
    loop {
        let arrived = &portions.arrived()[taken..];
        match decoder.decode(arrived)? {
            Piece::Data { skip, len } => {
                assert!(len > 0, "a piece of data is never empty");
                content.extend_from_slice(&arrived[skip..skip + len]);
                taken += skip + len;
            }
            Piece::More { skip } => {
                // What the decoder has looked at it takes, so that nothing is looked at twice.
                assert_eq!(skip, arrived.len(), "the decoder leaves bytes for later");
                taken += skip;
                if portions.is_over() && decoder.ends_at_close() {
                    return Ok(Body { content, trailers: Vec::new(), taken });
                }
                portions.next()?;
            }
            Piece::End { skip } => {
                assert!(decoder.is_done());
                taken += skip;
                let trailers = decoder.trailers().map(fields).unwrap_or_default();
                return Ok(Body { content, trailers, taken });
            }
        }
    }
}

/// An input of which more and more has arrived.
struct Portions<'a, C> {
    input: &'a [u8],
    cuts: C,
    end: usize,
}

impl<'a, C: Iterator<Item = usize>> Portions<'a, C> {
    fn new<I>(input: &'a [u8], cuts: I) -> Portions<'a, C>
    where
        I: IntoIterator<Item = usize, IntoIter = C>,
    {
        let mut portions = Portions { input, cuts: cuts.into_iter(), end: 0 };
        portions.end = portions.following().unwrap_or(input.len());
        portions
    }

    fn following(&mut self) -> Option<usize> {
        let (end, length) = (self.end, self.input.len());
        self.cuts.by_ref().find(|cut| *cut > end).map(|cut| cut.min(length))
    }

    fn arrived(&self) -> &'a [u8] {
        &self.input[..self.end]
    }

    fn is_over(&self) -> bool {
        self.end == self.input.len()
    }

    fn next(&mut self) -> Result<(), BadMessage> {
        if self.is_over() {
            return Err(BadMessage::Truncated);
        }
        self.end = self.following().unwrap_or(self.input.len());
        Ok(())
    }
}
