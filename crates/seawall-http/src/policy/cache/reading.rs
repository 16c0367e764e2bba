//! The content of an answer as a cache gives it: from a fill while it arrives, or from the store,
//! whole or in parts.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use seawall_cache::fill::{Follow, Unread};
use seawall_cache::object::{CHUNK, Object};

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
pub(crate) type Bringing = Pin<Box<dyn Future<Output = Option<Bytes>>>>;

/// The chunks of an object, wherever they are.
pub(crate) struct Chunks {
    /// Brings the chunk of this number, and the one behind it if it is wanted too.
    bring: Box<dyn Fn(u64) -> Bringing>,
    bringing: Option<Bringing>,
    /// The chunk last brought, and its number.
    last: Option<(u64, Bytes)>,
}

impl Chunks {
    pub(crate) fn new(bring: Box<dyn Fn(u64) -> Bringing>) -> Chunks {
        Chunks { bring, bringing: None, last: None }
    }

    /// Content from `at` to the end of its chunk; `None` if it cannot be had.
    fn poll(&mut self, at: u64, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let number = at / CHUNK;
        let within = |chunk: &Bytes| {
            let from = (at % CHUNK) as usize;
            (from < chunk.len()).then(|| chunk.slice(from..))
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
    content: Bytes,
}

impl Reading {
    pub(crate) fn new(source: Source, parts: impl Into<VecDeque<Part>>) -> Reading {
        Reading { source, parts: parts.into(), content: Bytes::new() }
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
                    self.content = std::mem::take(text);
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
                piece.truncate(usize::try_from(to - at).unwrap_or(usize::MAX));
            }
            let next = at + piece.len() as u64;
            match to {
                Some(to) if to == next => drop(self.parts.pop_front()),
                _ => self.parts[0] = Part::Content(next, to),
            }
            self.content = piece;
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
    ) -> Poll<Result<Option<Bytes>, AnswerError>> {
        let chunks = match &mut self.source {
            Source::Whole(object) => {
                let rest = object.body().get(at as usize..).filter(|rest| !rest.is_empty());
                return Poll::Ready(Ok(rest.map(Bytes::copy_from_slice)));
            }
            Source::Fill(fill, chunks) => match ready!(fill.poll_read(at, cx)) {
                Ok(piece) => return Poll::Ready(Ok(piece)),
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

    /// The content last given.
    #[inline]
    pub(crate) fn content(&self) -> &[u8] {
        &self.content
    }

    /// Drops the content last given.
    pub(crate) fn consume(&mut self) {
        self.content = Bytes::new();
    }
}
