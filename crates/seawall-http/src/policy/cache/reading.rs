//! The content of an answer as a cache gives it: from a fill while it arrives, or from the store,
//! whole or in parts.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use seawall_cache::disk::Lent;
use seawall_cache::fill::{Follow, Unread};
use seawall_cache::object::{CHUNK, Object};
use seawall_cache::store::Piece;

use crate::forward::conversation::{AnswerError, Chunk};
use crate::refuse::Refusal;

/// What is still to be given.
#[derive(Debug)]
pub(crate) enum Part {
    /// This text, between the parts of a multipart answer.
    Text(Bytes),
    /// Content from one position to another; to the end of it, wherever that is, if there is none.
    Content(u64, Option<u64>),
}

/// Where content comes from.
pub(crate) enum Source {
    /// An object that has it all.
    Whole(Arc<Object>),
    /// A fill that goes on, and what it has put into the store.
    Fill(Follow<Refusal>, Chunks),
    /// What is in the store.
    Chunks(Chunks),
}

/// One chunk that is being brought.
pub(crate) type Bringing = Pin<Box<dyn Future<Output = Option<Piece>>>>;

/// The chunks of an object, wherever they are.
pub(crate) struct Chunks {
    /// Brings the chunk of this number, and the one behind it if it is wanted too.
    bring: Box<dyn Fn(u64) -> Bringing>,
    bringing: Option<Bringing>,
    /// The chunk last brought, and its number.
    last: Option<(u64, Piece)>,
}

impl Chunks {
    pub(crate) fn new(bring: Box<dyn Fn(u64) -> Bringing>) -> Chunks {
        Chunks { bring, bringing: None, last: None }
    }

    /// Content from `at` to the end of its chunk; `None` if it cannot be had.
    fn poll(&mut self, at: u64, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        let number = at / CHUNK;
        let within = |chunk: &Piece| {
            let from = (at % CHUNK) as usize;
            (from < chunk.len()).then(|| chunk.part(from, usize::MAX))
        };
        if let Some((last, chunk)) = &self.last
            && *last == number
        {
            return Poll::Ready(within(chunk));
        }
        let bringing = self.bringing.get_or_insert_with(|| (self.bring)(number));
        let brought = ready!(bringing.as_mut().poll(cx));
        self.bringing = None;
        let Some(chunk) = brought else { return Poll::Ready(None) };
        let content = within(&chunk);
        self.last = Some((number, chunk));
        Poll::Ready(content)
    }
}

/// Content on its way from a cache to a client.
pub(crate) struct Reading {
    source: Source,
    parts: VecDeque<Part>,
    content: Piece,
    /// Where the content is in the whole.
    at: u64,
}

/// Content that is on disk up to this size is copied into memory: to send it from there by itself
/// costs more.
const COPIED: usize = 32 * 1024;

impl Reading {
    pub(crate) fn new(source: Source, parts: impl Into<VecDeque<Part>>) -> Reading {
        Reading { source, parts: parts.into(), content: Piece::Memory(Bytes::new()), at: 0 }
    }

    /// The next content; `None` at the end. Take it with [`Reading::consume`].
    pub(crate) fn poll_chunk(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Chunk>, AnswerError>> {
        loop {
            let (at, to) = match self.parts.front_mut() {
                None => return Poll::Ready(Ok(None)),
                Some(Part::Text(text)) => {
                    self.content = Piece::Memory(std::mem::take(text));
                    self.parts.pop_front();
                    return Poll::Ready(Ok(self.chunk()));
                }
                Some(Part::Content(at, Some(to))) if at == to => {
                    self.parts.pop_front();
                    continue;
                }
                Some(Part::Content(at, to)) => (*at, *to),
            };
            let Some(mut piece) = ready!(self.poll_piece(at, cx)?) else {
                // Content whose end is not known ends here, and no other does.
                if to.is_some() {
                    return Poll::Ready(Err(AnswerError::Closed));
                }
                self.parts.pop_front();
                continue;
            };
            if let Some(to) = to {
                piece = piece.part(0, usize::try_from(to - at).unwrap_or(usize::MAX));
            }
            // The length of what has no end yet goes out before it, so it must be there.
            if let Piece::Disk(lent) = &piece
                && (to.is_none() || lent.len() <= COPIED)
            {
                match lent.copy() {
                    Some(copy) => piece = Piece::Memory(copy.into()),
                    None => {
                        self.bring_anew();
                        continue;
                    }
                }
            }
            let next = at + piece.len() as u64;
            match to {
                Some(to) if to == next => drop(self.parts.pop_front()),
                _ => self.parts[0] = Part::Content(next, to),
            }
            (self.content, self.at) = (piece, at);
            return Poll::Ready(Ok(self.chunk()));
        }
    }

    fn chunk(&mut self) -> Option<Chunk> {
        Some(Chunk { len: self.content.len(), last: self.parts.is_empty() })
    }

    fn poll_piece(
        &mut self,
        at: u64,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Piece>, AnswerError>> {
        let chunks = match &mut self.source {
            Source::Whole(object) => {
                let rest = object.body().get(at as usize..).filter(|rest| !rest.is_empty());
                return Poll::Ready(Ok(
                    rest.map(|rest| Piece::Memory(Bytes::copy_from_slice(rest)))
                ));
            }
            Source::Fill(fill, chunks) => match ready!(fill.poll_read(at, cx)) {
                Ok(piece) => return Poll::Ready(Ok(piece.map(Piece::Memory))),
                Err(Unread::Broken) => return Poll::Ready(Err(AnswerError::Closed)),
                Err(Unread::Behind) => chunks,
            },
            Source::Chunks(chunks) => chunks,
        };
        match ready!(chunks.poll(at, cx)) {
            Some(piece) => Poll::Ready(Ok(Some(piece))),
            None => Poll::Ready(Err(AnswerError::Closed)),
        }
    }

    /// The content last given, if it is in memory.
    #[inline]
    pub(crate) fn content(&self) -> &[u8] {
        match &self.content {
            Piece::Memory(bytes) => bytes,
            Piece::Disk(_) => &[],
        }
    }

    /// The content last given, if it is on disk.
    #[inline]
    pub(crate) fn lent(&self) -> Option<&Lent> {
        match &self.content {
            Piece::Memory(_) => None,
            Piece::Disk(lent) => Some(lent),
        }
    }

    /// Drops the content last given.
    pub(crate) fn consume(&mut self) {
        self.content = Piece::Memory(Bytes::new());
    }

    /// The content last given, of which `sent` bytes were sent, is to be had from where it is no
    /// longer, or not without waiting: the rest of it is given once more.
    pub(crate) fn renew(&mut self, sent: usize) {
        let rest = self.at + sent as u64..self.at + self.content.len() as u64;
        self.parts.push_front(Part::Content(rest.start, Some(rest.end)));
        self.consume();
        self.bring_anew();
    }

    fn bring_anew(&mut self) {
        if let Source::Fill(_, chunks) | Source::Chunks(chunks) = &mut self.source {
            chunks.last = None;
        }
    }
}
