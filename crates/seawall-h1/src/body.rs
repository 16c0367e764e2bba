//! Where a body ends (RFC 9112 §6.3), and its bytes as they come.

use crate::error::BadMessage;
use crate::fields::allowed_in_trailer;
use crate::headers::Headers;
use crate::known::Known;
use crate::parse::{HeadLimits, MAX_HEADERS};

/// How a body is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BodyLength {
    /// There is none.
    #[default]
    Empty,
    /// This many bytes (`Content-Length`).
    Length(u64),
    /// Chunks, then trailers.
    Chunked,
    /// All that comes until the server closes; answers only.
    UntilClose,
}

/// What the next bytes of the input are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// Drop `skip` bytes of framing; the `len` bytes behind them are content. `len` is not 0.
    Data {
        /// Bytes of framing before the content.
        skip: usize,
        /// Bytes of content.
        len: usize,
    },
    /// Drop `skip` bytes of framing; what follows is not here yet.
    More {
        /// Bytes of framing.
        skip: usize,
    },
    /// Drop `skip` bytes of framing; the body ends there. What follows is another message.
    End {
        /// Bytes of framing.
        skip: usize,
    },
}

/// Decodes one body. Holds no content; the longest thing it keeps is a trailer section.
#[derive(Debug, Default)]
pub struct BodyDecoder {
    state: State,
    /// Bytes of chunk extensions seen so far.
    extensions: u32,
    limits: TrailerLimits,
    trailers: Option<Box<Trailers>>,
}

#[derive(Debug, Clone, Copy)]
struct TrailerLimits {
    bytes: u32,
    headers: u32,
}

impl Default for TrailerLimits {
    fn default() -> TrailerLimits {
        TrailerLimits { bytes: 8192, headers: 100 }
    }
}

#[derive(Debug, Default)]
struct Trailers {
    text: Vec<u8>,
    fields: Headers,
}

/// Chunk extensions are dropped, so a body has no use for more of them than this
/// (CVE-2023-39326 and its kin: extensions as a way to make a proxy read for nothing).
const MAX_EXTENSIONS: u32 = 16 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Done,
    Length(u64),
    UntilClose,
    /// In the digits of a chunk size.
    Size {
        size: u64,
        digits: u8,
    },
    /// White space behind the size, which only an extension may follow.
    SizeBlank {
        size: u64,
    },
    Extension {
        size: u64,
    },
    SizeLf {
        size: u64,
    },
    Chunk {
        left: u64,
    },
    ChunkCr,
    ChunkLf,
    Trailers,
}

impl BodyDecoder {
    /// A decoder for one body. The limits are those for its trailer section.
    pub fn new(length: BodyLength, limits: HeadLimits) -> BodyDecoder {
        let state = match length {
            BodyLength::Empty | BodyLength::Length(0) => State::Done,
            BodyLength::Length(length) => State::Length(length),
            BodyLength::Chunked => State::Size { size: 0, digits: 0 },
            BodyLength::UntilClose => State::UntilClose,
        };
        let limits = TrailerLimits {
            bytes: limits.bytes.min(u32::MAX as usize) as u32,
            headers: limits.headers.min(MAX_HEADERS) as u32,
        };
        BodyDecoder { state, extensions: 0, limits, trailers: None }
    }

    /// Whether the body is complete.
    #[inline]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether an end of the connection is the end of the body.
    pub fn ends_at_close(&self) -> bool {
        self.state == State::UntilClose
    }

    /// The allowed fields of the trailer section, once the body is complete.
    pub fn trailers(&self) -> Option<&Headers> {
        self.trailers.as_ref().map(|trailers| &trailers.fields).filter(|fields| !fields.is_empty())
    }

    /// Looks at the next bytes. Call it again with what is left after the piece was taken.
    ///
    /// # Errors
    ///
    /// What [`BadMessage`] says of chunks and trailers; the connection is of no use after that.
    #[inline]
    pub fn decode(&mut self, input: &[u8]) -> Result<Piece, BadMessage> {
        match self.state {
            State::Done => Ok(Piece::End { skip: 0 }),
            _ if input.is_empty() => Ok(Piece::More { skip: 0 }),
            State::UntilClose => Ok(Piece::Data { skip: 0, len: input.len() }),
            State::Length(left) => {
                let len = left.min(input.len() as u64) as usize;
                let left = left - len as u64;
                self.state = if left == 0 { State::Done } else { State::Length(left) };
                Ok(Piece::Data { skip: 0, len })
            }
            _ => self.decode_chunked(input),
        }
    }

    fn decode_chunked(&mut self, input: &[u8]) -> Result<Piece, BadMessage> {
        let mut at = 0;
        while at < input.len() {
            let byte = input[at];
            self.state = match self.state {
                State::Size { size, digits } => match (byte, (byte as char).to_digit(16)) {
                    (_, Some(digit)) => {
                        // Sixteen digits would fit, but a length must fit 63 bits.
                        if digits >= 16 || size >> 59 != 0 {
                            return Err(BadMessage::ChunkSize);
                        }
                        State::Size { size: size << 4 | u64::from(digit), digits: digits + 1 }
                    }
                    _ if digits == 0 => return Err(BadMessage::ChunkSize),
                    (b'\r', _) => State::SizeLf { size },
                    (b';', _) => State::Extension { size },
                    (b' ' | b'\t', _) => State::SizeBlank { size },
                    (b'\n', _) => return Err(BadMessage::BareLf),
                    _ => return Err(BadMessage::ChunkSize),
                },
                State::SizeBlank { size } => match byte {
                    b' ' | b'\t' => {
                        self.count_extension()?;
                        State::SizeBlank { size }
                    }
                    b';' => State::Extension { size },
                    _ => return Err(BadMessage::ChunkSize),
                },
                State::Extension { size } => match byte {
                    b'\r' => State::SizeLf { size },
                    b'\n' => return Err(BadMessage::BareLf),
                    b'\t' | b' '..=b'~' | 0x80.. => {
                        self.count_extension()?;
                        State::Extension { size }
                    }
                    _ => return Err(BadMessage::ChunkExtension),
                },
                State::SizeLf { size } => match (byte, size) {
                    (b'\n', 0) => State::Trailers,
                    (b'\n', left) => State::Chunk { left },
                    _ => return Err(BadMessage::BareCr),
                },
                State::Chunk { left } => {
                    let len = left.min((input.len() - at) as u64) as usize;
                    let left = left - len as u64;
                    self.state = if left == 0 { State::ChunkCr } else { State::Chunk { left } };
                    return Ok(Piece::Data { skip: at, len });
                }
                State::ChunkCr if byte == b'\r' => State::ChunkLf,
                State::ChunkLf if byte == b'\n' => State::Size { size: 0, digits: 0 },
                State::ChunkCr | State::ChunkLf => return Err(BadMessage::ChunkEnd),
                State::Trailers => {
                    let taken = self.take_trailer_line(&input[at..])?;
                    at += taken;
                    if self.state == State::Done {
                        return Ok(Piece::End { skip: at });
                    }
                    continue;
                }
                State::Done | State::Length(_) | State::UntilClose => {
                    debug_assert!(false, "decode() handles these");
                    return Ok(Piece::End { skip: at });
                }
            };
            at += 1;
        }
        Ok(Piece::More { skip: at })
    }

    fn count_extension(&mut self) -> Result<(), BadMessage> {
        self.extensions += 1;
        if self.extensions > MAX_EXTENSIONS { Err(BadMessage::ChunkExtension) } else { Ok(()) }
    }

    /// Takes bytes of the trailer section up to the end of a line, and closes the section when
    /// that line was empty.
    fn take_trailer_line(&mut self, input: &[u8]) -> Result<usize, BadMessage> {
        if self.trailers.is_none() && input.starts_with(b"\r\n") {
            self.state = State::Done;
            return Ok(2);
        }
        let trailers = self.trailers.get_or_insert_default();
        let end = memchr::memchr(b'\n', input).map(|at| at + 1);
        let line = &input[..end.unwrap_or(input.len())];
        if trailers.text.len() + line.len() > self.limits.bytes as usize {
            return Err(BadMessage::TrailerTooLarge);
        }
        trailers.text.extend_from_slice(line);
        let text = &trailers.text[..];
        if end.is_some() {
            if !text.ends_with(b"\r\n") {
                return Err(BadMessage::BareLf);
            }
            if text == b"\r\n" || text.ends_with(b"\r\n\r\n") {
                self.finish_trailers()?;
                self.state = State::Done;
            }
        }
        Ok(line.len())
    }

    fn finish_trailers(&mut self) -> Result<(), BadMessage> {
        let Some(trailers) = self.trailers.as_mut() else { return Ok(()) };
        let mut room = vec![httparse::EMPTY_HEADER; self.limits.headers as usize];
        let parsed = match httparse::parse_headers(&trailers.text, &mut room) {
            Ok(httparse::Status::Complete((_, parsed))) => parsed,
            Ok(httparse::Status::Partial) => return Err(BadMessage::Trailer),
            Err(httparse::Error::TooManyHeaders) => return Err(BadMessage::TrailerTooLarge),
            Err(_) => return Err(BadMessage::Trailer),
        };
        for field in parsed.iter() {
            let name = field.name.as_bytes();
            if name.len() > u16::MAX as usize {
                return Err(BadMessage::Trailer);
            }
            if allowed_in_trailer(name) && !Known::of(name).is_hop_by_hop() {
                trailers.fields.push(name, field.value);
            }
        }
        trailers.text = Vec::new();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { bytes: 256, headers: 4 };

    /// The content, trailers and what was left over, with the input delivered in `step` bytes.
    fn decode(input: &[u8], step: usize) -> Result<(Vec<u8>, Vec<String>, usize), BadMessage> {
        let mut decoder = BodyDecoder::new(BodyLength::Chunked, LIMITS);
        let (mut content, mut from) = (Vec::new(), 0);
        let mut to = step.min(input.len());
        loop {
            match decoder.decode(&input[from..to])? {
                Piece::Data { skip, len } => {
                    content.extend_from_slice(&input[from + skip..from + skip + len]);
                    from += skip + len;
                }
                Piece::More { skip } => {
                    from += skip;
                    if to == input.len() {
                        return Err(BadMessage::Truncated);
                    }
                    to = (to + step).min(input.len());
                }
                Piece::End { skip } => {
                    let show = |field: crate::headers::Field<'_>| {
                        String::from_utf8_lossy(field.name).into_owned()
                    };
                    let trailers = decoder.trailers().map(|list| list.iter().map(show).collect());
                    return Ok((content, trailers.unwrap_or_default(), input.len() - from - skip));
                }
            }
        }
    }

    #[test]
    fn chunked_bodies() {
        use BadMessage::*;
        let long = format!("1;{}\r\nx\r\n0\r\n\r\n", "e".repeat(17_000));
        let fields = "a: 1\r\n".repeat(5);
        let many = format!("0\r\n{fields}\r\n");
        let large = format!("0\r\na: {}\r\n\r\n", "x".repeat(300));
        for (input, expect) in [
            ("5\r\nhello\r\n0\r\n\r\n", Ok(("hello", "", 0))),
            ("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nGET", Ok(("hello world", "", 3))),
            ("A;x=y;z\r\n0123456789\r\n000\r\n\r\n", Ok(("0123456789", "", 0))),
            ("1 ;q=\"a\\\"b\"\r\nx\r\n0\r\n\r\n", Ok(("x", "", 0))),
            ("0\r\nX-Sum: 1\r\nhost: evil\r\ncontent-length: 3\r\n\r\n", Ok(("", "X-Sum", 0))),
            ("0\r\n\r\n", Ok(("", "", 0))),
            ("5\r\nhel", Err(Truncated)),
            ("+5\r\nhello\r\n0\r\n\r\n", Err(ChunkSize)),
            ("-5\r\nhello\r\n0\r\n\r\n", Err(ChunkSize)),
            ("0x5\r\nhello\r\n0\r\n\r\n", Err(ChunkSize)),
            (" 5\r\nhello\r\n0\r\n\r\n", Err(ChunkSize)),
            ("5 \r\nhello\r\n0\r\n\r\n", Err(ChunkSize)),
            ("\r\nhello\r\n0\r\n\r\n", Err(ChunkSize)),
            (";\r\n", Err(ChunkSize)),
            ("8000000000000000\r\n", Err(ChunkSize)),
            ("ffffffffffffffff\r\n", Err(ChunkSize)),
            ("10000000000000000\r\n", Err(ChunkSize)),
            ("00000000000000000\r\n", Err(ChunkSize)),
            ("5\nhello\r\n0\r\n\r\n", Err(BareLf)),
            ("5;a\nhello\r\n0\r\n\r\n", Err(BareLf)),
            ("5\rhello\r\n0\r\n\r\n", Err(BareCr)),
            ("5;a\rb\r\nhello\r\n0\r\n\r\n", Err(BareCr)),
            ("5;a\0\r\nhello\r\n0\r\n\r\n", Err(ChunkExtension)),
            ("5\r\nhelloo\r\n0\r\n\r\n", Err(ChunkEnd)),
            ("5\r\nhello\n0\r\n\r\n", Err(ChunkEnd)),
            ("0\r\n\n", Err(BareLf)),
            ("0\r\na: 1\n\r\n", Err(BareLf)),
            ("0\r\na : 1\r\n\r\n", Err(Trailer)),
            ("0\r\na: 1\r\n b\r\n\r\n", Err(Trailer)),
            ("0\r\na: \0\r\n\r\n", Err(Trailer)),
            (long.as_str(), Err(ChunkExtension)),
            (many.as_str(), Err(TrailerTooLarge)),
            (large.as_str(), Err(TrailerTooLarge)),
        ] {
            for step in [1, 2, 3, 7, input.len()] {
                let found = decode(input.as_bytes(), step);
                let expect = expect.map(|(content, trailers, left)| {
                    let trailers = trailers.split_terminator(' ').map(str::to_owned).collect();
                    (content.as_bytes().to_vec(), trailers, left)
                });
                // How far the input reaches when it is refused depends on the split; that it is
                // refused, and why, does not. What is left over does depend on the split.
                match (found, expect) {
                    (Ok(found), Ok(expect)) => {
                        assert_eq!((found.0, found.1), (expect.0, expect.1), "{input:?} by {step}");
                        if step == input.len() {
                            assert_eq!(found.2, expect.2, "{input:?}");
                        }
                    }
                    (found, expect) => assert_eq!(found.err(), expect.err(), "{input:?} by {step}"),
                }
            }
        }
    }

    #[test]
    fn a_length_ends_where_it_says() {
        let mut decoder = BodyDecoder::new(BodyLength::Length(5), LIMITS);
        assert_eq!(decoder.decode(b"abc"), Ok(Piece::Data { skip: 0, len: 3 }));
        assert_eq!(decoder.decode(b""), Ok(Piece::More { skip: 0 }));
        assert_eq!(decoder.decode(b"deGET"), Ok(Piece::Data { skip: 0, len: 2 }));
        assert_eq!(decoder.decode(b"GET"), Ok(Piece::End { skip: 0 }));
        assert!(decoder.is_done());
    }
}
