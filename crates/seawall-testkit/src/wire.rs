//! One TCP connection with what was read ahead of need, shared by the client and the origin.
//!
//! Knows how heads and bodies end and nothing else of HTTP; never answers anything by itself.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;

use crate::message::{Fields, Framing, invalid, parse_fields};

/// A head longer than this is a mistake of the test.
const LONGEST_HEAD: usize = 4 << 20;

/// A place that is told of every byte that arrives.
pub(crate) trait Tap: Send + Sync {
    /// These bytes arrived.
    fn received(&self, bytes: &[u8]);
}

pub(crate) struct Wire {
    stream: Arc<TcpStream>,
    /// Bytes received and not yet handed out, from `start`.
    buffer: Vec<u8>,
    start: usize,
    tap: Option<Arc<dyn Tap>>,
}

impl Wire {
    pub(crate) fn new(
        stream: Arc<TcpStream>,
        patience: Duration,
        tap: Option<Arc<dyn Tap>>,
    ) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let wire = Self { stream, buffer: Vec::new(), start: 0, tap };
        wire.set_patience(patience)?;
        Ok(wire)
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(crate) fn set_patience(&self, patience: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(Some(patience))?;
        self.stream.set_write_timeout(Some(patience))
    }

    pub(crate) fn send(&self, bytes: &[u8]) -> io::Result<()> {
        (&*self.stream).write_all(bytes).map_err(name_timeout)
    }

    /// One byte per segment, as far as the kernel lets itself be told.
    pub(crate) fn send_slowly(&self, bytes: &[u8]) -> io::Result<()> {
        bytes.chunks(1).try_for_each(|byte| self.send(byte))
    }

    pub(crate) fn half_close(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// Makes the close that follows a reset instead of a FIN.
    pub(crate) fn reset_on_close(&self) -> io::Result<()> {
        SockRef::from(&*self.stream).set_linger(Some(Duration::ZERO))
    }

    fn ahead(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let taken = self.buffer[self.start..self.start + count].to_vec();
        self.skip(count);
        taken
    }

    fn skip(&mut self, count: usize) {
        self.start += count;
        if self.start == self.buffer.len() {
            // Given back, not kept: tests hold tens of thousands of idle connections.
            self.buffer = Vec::new();
            self.start = 0;
        }
    }

    /// Reads more; 0 means that the peer closed.
    fn fill(&mut self) -> io::Result<usize> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let old = self.buffer.len();
        self.buffer.resize(old + (64 << 10), 0);
        let outcome = loop {
            match (&*self.stream).read(&mut self.buffer[old..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                outcome => break outcome,
            }
        };
        let count = *outcome.as_ref().unwrap_or(&0);
        self.buffer.truncate(old + count);
        if let Some(tap) = &self.tap {
            tap.received(&self.buffer[old..]);
        }
        outcome.map_err(name_timeout)
    }

    fn fill_or_fail(&mut self, during: &str) -> io::Result<()> {
        match self.fill()? {
            0 => Err(ended(during)),
            _ => Ok(()),
        }
    }

    /// Up to and including `end`.
    pub(crate) fn read_until(&mut self, end: &[u8], during: &str) -> io::Result<Vec<u8>> {
        let mut searched = 0;
        loop {
            let ahead = self.ahead();
            let found = ahead[searched..].windows(end.len()).position(|window| window == end);
            if let Some(position) = found {
                return Ok(self.take(searched + position + end.len()));
            }
            searched = ahead.len().saturating_sub(end.len() - 1);
            if searched > LONGEST_HEAD {
                return Err(invalid(format!("no end of {during} in {searched} bytes")));
            }
            self.fill_or_fail(during)?;
        }
    }

    pub(crate) fn read_exact(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.ahead().len() < count {
            self.fill_or_fail("bytes that were waited for")?;
        }
        Ok(self.take(count))
    }

    /// What is there, or what comes next; empty when the peer closed.
    pub(crate) fn read_some(&mut self) -> io::Result<Vec<u8>> {
        if self.ahead().is_empty() {
            self.fill()?;
        }
        Ok(self.take(self.ahead().len()))
    }

    /// Everything until the peer closes.
    pub(crate) fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        while self.fill()? > 0 {}
        Ok(self.take(self.ahead().len()))
    }

    /// Whether the peer closed before any further byte.
    pub(crate) fn at_end(&mut self) -> io::Result<bool> {
        if self.ahead().is_empty() {
            self.fill()?;
        }
        Ok(self.ahead().is_empty())
    }

    /// Hands the body to `sink` in pieces and returns its trailers.
    pub(crate) fn read_body(
        &mut self,
        framing: Framing,
        mut sink: impl FnMut(&[u8]),
    ) -> io::Result<Fields> {
        match framing {
            Framing::Empty => {}
            Framing::Length(length) => self.pour(length, &mut sink)?,
            Framing::UntilClose => loop {
                let piece = self.read_some()?;
                if piece.is_empty() {
                    break;
                }
                sink(&piece);
            },
            Framing::Chunked => return self.read_chunks(&mut sink),
        }
        Ok(Fields::default())
    }

    fn read_chunks(&mut self, sink: &mut impl FnMut(&[u8])) -> io::Result<Fields> {
        loop {
            let line = self.read_until(b"\r\n", "a chunk size")?;
            let text = String::from_utf8_lossy(&line[..line.len() - 2]).into_owned();
            let digits = text.split(';').next().unwrap_or_default().trim_end();
            let hex = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            let size = match u64::from_str_radix(digits, 16) {
                Ok(size) if hex => size,
                _ => return Err(invalid(format!("bad chunk size {text:?}"))),
            };
            if size == 0 {
                return self.read_trailers();
            }
            self.pour(size, sink)?;
            if self.read_exact(2)? != b"\r\n" {
                return Err(invalid("a chunk does not end with CRLF"));
            }
        }
    }

    fn read_trailers(&mut self) -> io::Result<Fields> {
        let mut lines = Vec::new();
        loop {
            let line = self.read_until(b"\r\n", "trailers")?;
            let line: String = line[..line.len() - 2].iter().copied().map(char::from).collect();
            if line.is_empty() {
                return parse_fields(lines.iter().map(String::as_str));
            }
            lines.push(line);
        }
    }

    fn pour(&mut self, mut length: u64, sink: &mut impl FnMut(&[u8])) -> io::Result<()> {
        while length > 0 {
            if self.ahead().is_empty() {
                self.fill_or_fail("a body")?;
            }
            let ahead = self.ahead();
            let count = ahead.len().min(usize::try_from(length).unwrap_or(usize::MAX));
            sink(&ahead[..count]);
            self.skip(count);
            length -= count as u64;
        }
        Ok(())
    }
}

/// A socket whose time ran out says `WouldBlock`; everyone here says `TimedOut`.
fn name_timeout(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => io::Error::new(
            ErrorKind::TimedOut,
            "nothing moved on the connection for as long as the test has patience",
        ),
        _ => error,
    }
}

fn ended(during: &str) -> io::Error {
    io::Error::new(
        ErrorKind::UnexpectedEof,
        format!("the peer closed the connection in the middle of {during}"),
    )
}
