//! The content of a fetch: read from the server, handed to whoever follows, and cut into chunks
//! that are stored. Called by [`super::fetch`].

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use seawall_cache::freshness::Unstorable;
use seawall_cache::object::{CHUNK, Content, Object};
use tokio::time::timeout;

use super::fetch::Fetch;
use super::remember;
use crate::client::Client;
use crate::forward::conversation::Conversation;
use crate::message::Body;
use crate::policy::cache::shelf::Card;

/// How far content may arrive ahead of the fastest reader when the store cannot hold it all.
pub(super) const AHEAD: u64 = 8 << 20;

impl Fetch<'_> {
    /// Takes the content in. Gives whether it is all in the store as far as it was cut into chunks;
    /// `None` if it broke off, or nobody wants it and it is large and can be resumed (`resumes`).
    pub(super) async fn receive(
        &mut self,
        body: Body,
        length: Option<u64>,
        keep: bool,
        resumes: bool,
    ) -> Option<bool> {
        let mut conversation = match body {
            Body::Answer(conversation) => conversation,
            Body::Shared(content) => {
                self.take(Bytes::copy_from_slice(&content), keep);
                return Some(true);
            }
            Body::Owned(content) => {
                self.take(content.into(), keep);
                return Some(true);
            }
            _ => return Some(true),
        };
        let mut keep = keep;
        let fits = length.is_some_and(|length| length <= self.node.capacity() / 8);
        let ahead = if keep && fits { u64::MAX } else { AHEAD };
        loop {
            if self.lead.arrived() > CHUNK {
                self.is_too_large().await;
            }
            let Fetch { lead, node, rules, request, .. } = &*self;
            let is_read = match keep {
                true => poll_fn(|cx| lead.poll_room(ahead, cx)).await,
                false => poll_fn(|cx| lead.poll_slowest(cx)).await,
            };
            if !is_read && (!keep || resumes && !fits) {
                return None;
            }
            if keep {
                node.disk_takes_more().await;
            }
            let (content, last) = next(&mut conversation, request.client).await?;
            self.take(content, keep);
            if keep && lead.arrived() > rules.max_object {
                // What those who are here have not read yet is nowhere else from now on.
                keep = false;
                lead.close();
                let why = Unstorable::TooLarge as u8;
                remember(node, lead, self.variants, self.received, why);
            }
            if last {
                conversation.finish();
                return Some(keep);
            }
        }
    }

    fn take(&self, content: Bytes, keep: bool) {
        if let Some((number, chunk)) = self.lead.append(content)
            && keep
        {
            self.node.keep_chunk(self.lead.id(), number, chunk);
        }
    }

    /// Stores what has arrived whole.
    pub(super) fn complete(&self, card: &Card) -> Arc<Object> {
        let (number, rest) = self.lead.rest();
        let rest: Vec<&[u8]> = rest.iter().map(|piece| &piece[..]).collect();
        let object = if number == 0 {
            card.object(Content::Whole, &rest)
        } else {
            let id = self.lead.id();
            if !rest.is_empty() {
                self.node.keep_chunk(id, number, rest.concat().into());
            }
            card.object(Content::Chunks { id, length: self.lead.arrived() }, &[])
        };
        self.store(card, object.clone());
        object
    }
}

/// The next content, and whether it is the last; `None` if it broke off.
pub(in crate::policy::cache) async fn next(
    conversation: &mut Conversation,
    client: &Client,
) -> Option<(Bytes, bool)> {
    let idle = conversation.idle_timeout;
    let piece = poll_fn(|cx| match conversation.poll_chunk(client, cx) {
        Poll::Ready(Ok(Some(chunk))) => {
            let content = Bytes::copy_from_slice(conversation.content());
            conversation.consume();
            Poll::Ready(Some((content, chunk.last)))
        }
        Poll::Ready(Ok(None)) => Poll::Ready(Some((Bytes::new(), true))),
        Poll::Ready(Err(_)) => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    });
    if let Ok(piece) = timeout(idle, piece).await {
        return piece;
    }
    conversation.broke_off();
    None
}
