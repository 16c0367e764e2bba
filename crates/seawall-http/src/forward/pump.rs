//! The way of a request to a server: its head, then its body as it comes from the client.

use std::io::IoSlice;
use std::task::{Context, Poll, ready};

use seawall_h1::{BodyLength, encode};
use tokio::net::TcpStream;

use crate::client::{BodyError, Client};
use crate::socket;

/// A request on its way out. Content stays in the client's buffer until it is written.
#[derive(Debug)]
pub(crate) struct Pump {
    /// The head, and framing; written before the content.
    out: Vec<u8>,
    out_at: usize,
    /// Bytes of the content last taken that are still to be written.
    content: usize,
    /// Bytes of the CRLF behind a chunk that are still to be written.
    tail: usize,
    chunked: bool,
    /// The whole body has been taken from the client.
    taken: bool,
    /// Something has been written, now or before it was begun again.
    begun: bool,
    /// Content taken so far, while it is worth keeping.
    replay: Replay,
    /// The most that is kept.
    most: usize,
}

#[derive(Debug)]
enum Replay {
    /// No content has been taken yet.
    Nothing,
    Kept(Vec<u8>),
    /// Content has been taken and not kept.
    Lost,
}

/// Why a request cannot be sent to its end.
#[derive(Debug)]
pub(crate) enum PumpError {
    /// The server takes no more.
    Server,
    /// The client does not give what it announced.
    Client(BodyError),
}

const CRLF: &[u8] = b"\r\n";

impl Pump {
    pub(crate) fn new(body: BodyLength, head: Vec<u8>) -> Pump {
        Pump {
            out: head,
            out_at: 0,
            content: 0,
            tail: 0,
            chunked: body == BodyLength::Chunked,
            taken: matches!(body, BodyLength::Empty | BodyLength::Length(0)),
            begun: false,
            replay: Replay::Nothing,
            most: 0,
        }
    }

    /// Keeps the content, as long as it is at most so many bytes, so that it can be sent again.
    pub(crate) fn record(&mut self, most: usize) {
        if matches!(self.replay, Replay::Nothing) && !self.taken {
            self.replay = Replay::Kept(Vec::new());
            self.most = most;
        }
    }

    /// Whether everything has been written.
    #[inline]
    pub(crate) fn is_done(&self) -> bool {
        self.taken && self.content == 0 && self.tail == 0 && self.out_at == self.out.len()
    }

    /// Whether the request can be sent once more without harm.
    pub(crate) fn may_be_sent_again(&self, idempotent: bool) -> bool {
        !self.begun || idempotent && !matches!(self.replay, Replay::Lost)
    }

    /// The same request from its beginning.
    pub(crate) fn again(mut self, client: &Client, mut head: Vec<u8>) -> Pump {
        // Whatever the last attempt waited for, nobody does now.
        client.awaits_body.set(false);
        if let Replay::Kept(content) = &self.replay {
            // What the client's buffer still holds of this content is in the record too.
            client.consume_content(client.content());
            if self.chunked && !content.is_empty() {
                encode::chunk_size(content.len(), &mut head);
            }
            head.extend_from_slice(content);
            if self.chunked && !content.is_empty() {
                head.extend_from_slice(CRLF);
            }
            (self.content, self.tail) = (0, 0);
        } else if self.chunked && self.content > 0 {
            // Nothing has been written, so all that was taken is still in the client's buffer.
            encode::chunk_size(self.content, &mut head);
        }
        if self.chunked && self.taken {
            client.with_trailers(|trailers| encode::last_chunk(trailers, &mut head));
        }
        Pump { out: head, out_at: 0, ..self }
    }

    /// The memory of the head, for the next one.
    pub(crate) fn into_text(self) -> Vec<u8> {
        self.out
    }

    /// Writes and takes content until one side has to be waited for, or all is written.
    pub(crate) fn poll(
        &mut self,
        client: &Client,
        stream: &TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), PumpError>> {
        loop {
            if !self.taken && client.content() == 0 && self.tail == 0 {
                match client.poll_body(cx) {
                    Poll::Ready(Ok(piece)) => self.take(client, piece),
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(PumpError::Client(error))),
                    Poll::Pending if self.out_at == self.out.len() => return Poll::Pending,
                    Poll::Pending => {}
                }
            }
            if self.out_at < self.out.len() || client.content() > 0 || self.tail > 0 {
                ready!(self.poll_write(client, stream, cx)).map_err(|_| PumpError::Server)?;
            } else if self.taken {
                return Poll::Ready(Ok(()));
            }
        }
    }

    fn take(&mut self, client: &Client, piece: Option<usize>) {
        if self.out_at == self.out.len() {
            self.out.clear();
            self.out_at = 0;
        }
        let Some(length) = piece else {
            self.taken = true;
            if self.chunked {
                client.with_trailers(|trailers| encode::last_chunk(trailers, &mut self.out));
            }
            return;
        };
        self.content = length;
        if self.chunked {
            encode::chunk_size(length, &mut self.out);
            self.tail = CRLF.len();
        }
        match &mut self.replay {
            Replay::Kept(content) if content.len() + length <= self.most => {
                content.extend_from_slice(&client.input.borrow().bytes()[..length]);
            }
            replay => *replay = Replay::Lost,
        }
        // The last content of a known length needs no look at what follows it.
        self.taken = !self.chunked && client.is_last_content();
    }

    fn poll_write(
        &mut self,
        client: &Client,
        stream: &TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        let out = &self.out[self.out_at..];
        let content = client.content();
        let written = if content == 0 && self.tail == 0 {
            ready!(socket::poll_write(stream, &[IoSlice::new(out)], cx))?
        } else {
            let input = client.input.borrow();
            let parts = [
                IoSlice::new(out),
                IoSlice::new(&input.bytes()[..content]),
                IoSlice::new(&CRLF[CRLF.len() - self.tail..]),
            ];
            ready!(socket::poll_write(stream, &parts, cx))?
        };
        if written == 0 {
            return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into()));
        }
        self.begun = true;
        let of_out = written.min(out.len());
        let of_content = (written - of_out).min(content);
        self.out_at += of_out;
        client.consume_content(of_content);
        self.content -= of_content;
        self.tail -= written - of_out - of_content;
        Poll::Ready(Ok(()))
    }
}
