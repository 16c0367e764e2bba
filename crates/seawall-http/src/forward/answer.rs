//! The body of an answer as it comes from a server, and what is left of the request meanwhile.

use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use seawall_h1::{BadMessage, BodyDecoder, Headers, Piece};

use super::pump::{Pump, PumpError};
use crate::buffer::{LARGE, SMALL};
use crate::client::{BodyError, Client};
use crate::upstream::pool::Lease;

/// The body of an answer. When dropped before its end, the connection to the server is closed.
#[derive(Debug)]
pub(crate) struct Answer {
    lease: Lease,
    decoder: BodyDecoder,
    /// What is left of the request, if the server answered before it had all of it.
    pump: Option<Pump>,
    /// The connection may be used again.
    keep: bool,
    /// Content at the start of the lease's input.
    content: usize,
    /// Framing behind it.
    framing: usize,
    /// How much to read at once.
    window: usize,
    /// How long the server may be silent.
    pub(crate) idle_timeout: Duration,
}

/// A part of the content, at the start of [`Answer::content`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chunk {
    pub(crate) len: usize,
    /// The body ends behind it.
    pub(crate) last: bool,
}

/// Why an answer cannot be had to its end.
#[derive(Debug)]
pub(crate) enum AnswerError {
    /// The client has left, as its request showed.
    ClientGone,
    /// The server closed or failed.
    Closed,
    /// The server sent something that is no body.
    Bad(BadMessage),
    /// The server was silent for too long.
    Silent,
}

impl Answer {
    pub(crate) fn new(
        lease: Lease,
        decoder: BodyDecoder,
        pump: Option<Pump>,
        keep: bool,
        idle_timeout: Duration,
    ) -> Answer {
        Answer { lease, decoder, pump, keep, content: 0, framing: 0, window: SMALL, idle_timeout }
    }

    /// Whether the server still takes what is left of the request.
    pub(crate) fn takes_more(&self) -> bool {
        self.pump.is_some()
    }

    /// Goes on sending the request.
    pub(crate) fn poll_pump(
        &mut self,
        client: &Client,
        cx: &mut Context<'_>,
    ) -> Result<(), AnswerError> {
        let Some(pump) = &mut self.pump else { return Ok(()) };
        match pump.poll(client, &mut self.lease.connection.stream, cx) {
            Poll::Pending => return Ok(()),
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(PumpError::Client(BodyError::Gone))) => {
                return Err(AnswerError::ClientGone);
            }
            // The answer has begun, so it goes on; neither connection is of use after it.
            Poll::Ready(Err(_)) => self.keep = false,
        }
        self.pump = None;
        Ok(())
    }

    /// The next content; `None` at the end. Take it with [`Answer::consume`].
    pub(crate) fn poll_chunk(
        &mut self,
        client: &Client,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Chunk>, AnswerError>> {
        self.poll_pump(client, cx)?;
        debug_assert_eq!(self.content + self.framing, 0);
        loop {
            self.gather().map_err(AnswerError::Bad)?;
            let last = self.decoder.is_done();
            if self.content > 0 {
                return Poll::Ready(Ok(Some(Chunk { len: self.content, last })));
            }
            self.consume();
            if last {
                return Poll::Ready(Ok(None));
            }
            match ready!(self.poll_fill(cx)) {
                Ok(0) if self.decoder.ends_at_close() => {
                    self.decoder = BodyDecoder::default();
                    return Poll::Ready(Ok(None));
                }
                Ok(0) | Err(_) => return Poll::Ready(Err(AnswerError::Closed)),
                Ok(_) => {}
            }
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Lease { input, connection, worker, .. } = &mut self.lease;
        let buffers = &worker.buffers;
        if input.is_empty() && input.capacity() < self.window {
            input.release(buffers);
        }
        input.make_room(buffers, self.window);
        let room = input.capacity() - input.len();
        let read = ready!(input.poll_fill(&mut connection.stream, cx))?;
        // What fills the buffer has more behind it.
        if read == room {
            self.window = LARGE;
        }
        Poll::Ready(Ok(read))
    }

    /// Moves all content that has been read together to the start of the input, so that small
    /// chunks leave as a large one.
    fn gather(&mut self) -> Result<(), BadMessage> {
        let input = &mut self.lease.input;
        let mut at = 0;
        loop {
            match self.decoder.decode(&input.bytes()[at..])? {
                Piece::Data { skip, len } => {
                    if self.content == 0 {
                        input.consume(at + skip);
                        at = 0;
                    } else {
                        input.shift(at + skip, len, self.content);
                        at += skip;
                    }
                    self.content += len;
                    at += len;
                    // Framings without chunks give all there is at once.
                    if at == input.len() {
                        break;
                    }
                }
                Piece::More { skip } | Piece::End { skip } => {
                    at += skip;
                    break;
                }
            }
        }
        self.framing = at - self.content;
        Ok(())
    }

    /// The content last given.
    #[inline]
    pub(crate) fn content(&self) -> &[u8] {
        &self.lease.input.bytes()[..self.content]
    }

    /// Drops the content last given.
    #[inline]
    pub(crate) fn consume(&mut self) {
        self.lease.input.consume(self.content + self.framing);
        (self.content, self.framing) = (0, 0);
    }

    /// The trailers, once the body has ended.
    pub(crate) fn trailers(&self) -> Option<&Headers> {
        self.decoder.trailers()
    }

    /// Ends the exchange; keeps the connection for the next one where that is possible.
    pub(crate) fn finish(self) {
        if self.keep && self.pump.is_none() && self.decoder.is_done() && self.lease.input.is_empty()
        {
            self.lease.give_back();
        }
    }
}
