//! The content of messages: what a redirect needs without an allocation, or what axum made.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

/// The content of an answer, or of a request that is sent.
#[derive(Debug)]
pub enum Content {
    /// In one piece; `None` when it was taken, or there is none.
    Whole(Option<Bytes>),
    /// As axum has it.
    Axum(Body),
}

impl Content {
    /// None at all.
    pub const EMPTY: Content = Content::Whole(None);
}

impl From<Bytes> for Content {
    fn from(bytes: Bytes) -> Content {
        Content::Whole((!bytes.is_empty()).then_some(bytes))
    }
}

impl hyper::body::Body for Content {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match &mut *self {
            Content::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Content::Axum(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Content::Whole(bytes) => bytes.is_none(),
            Content::Axum(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Content::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Content::Axum(body) => body.size_hint(),
        }
    }
}
