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

/// How far content may arrive ahead of the fastest reader when the store cannot hold it all. A fill
/// keeps eight complete chunks, so that this reader has what it wants from there.
pub(super) const AHEAD: u64 = 7 * CHUNK;

/// What a fill is granted while it is not known how much there is to come.
const AT_FIRST: u64 = 64 << 10;

/// What it is granted of what is more than that: the chunk that is arriving, and the one before.
const WHILE_LARGE: u64 = 2 * CHUNK;

/// What must be free for a fill of content of this length before it begins.
pub(super) fn needed(length: Option<u64>) -> u64 {
    length.map_or(AT_FIRST, |length| length.min(WHILE_LARGE))
}

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
        let most = length.unwrap_or(self.rules.max_object);
        match keep {
            true if most <= self.node.capacity() / 8 => self.lead.is_stored(),
            true => {}
            false => self.lead.pass_on(),
        }
        loop {
            if self.lead.arrived() > CHUNK {
                self.is_too_large().await;
            }
            let Fetch { lead, node, rules, request, .. } = &*self;
            let is_read = match keep {
                true => poll_fn(|cx| lead.poll_room(ahead, cx)).await,
                false => poll_fn(|cx| lead.poll_slowest(cx)).await,
            };
            let is_of_use = || keep && !(resumes && !fits && lead.arrived() >= CHUNK);
            if !is_read && !is_of_use() {
                return None;
            }
            if keep {
                node.disk_takes_more().await;
            }
            let (content, last) = next(&mut conversation, request.client).await?;
            self.take(content, keep);
            let is_too_large = lead.arrived() > rules.max_object;
            let has_room =
                || length.is_some() || lead.arrived() <= AT_FIRST || lead.reserve(WHILE_LARGE);
            if keep && (is_too_large || !has_room()) {
                // What those who are here have not read yet is nowhere else from now on.
                keep = false;
                lead.close();
                lead.pass_on();
                if is_too_large {
                    let why = Unstorable::TooLarge as u8;
                    remember(node, lead, self.variants, self.received, why);
                }
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
