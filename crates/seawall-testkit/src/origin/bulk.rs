//! The script of [`Origin::bulk`](super::Origin::bulk): bodies larger than memory, both ways.

use std::io;

use super::Conversation;
use crate::message::{Request, Response, invalid};

/// Bytes written at once.
const PIECE: usize = 64 << 10;

pub(super) fn serve(conversation: &mut Conversation) -> io::Result<()> {
    let piece = vec![b'x'; PIECE];
    loop {
        let head = conversation.read_request_head()?;
        if head.header("expect").is_some() {
            conversation.send("HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let received = conversation.count_body(&head)?;
        let again = match wanted(&head)? {
            Some(download) => download.send(conversation, &piece)?,
            None => {
                conversation.respond(&head, Response::new(200, received.to_string()))?;
                true
            }
        };
        if !again || !head.keeps_alive() {
            return Ok(());
        }
    }
}

enum Download {
    Length(u64),
    Chunked(u64),
    UntilClose(u64),
}

fn wanted(head: &Request) -> io::Result<Option<Download>> {
    let Some((kind, length)) = head.target.trim_start_matches('/').split_once('/') else {
        return Ok(None);
    };
    let length = || length.parse().map_err(|_| invalid(format!("no length in {:?}", head.target)));
    Ok(match kind {
        "bytes" => Some(Download::Length(length()?)),
        "chunked" => Some(Download::Chunked(length()?)),
        "close" => Some(Download::UntilClose(length()?)),
        _ => None,
    })
}

impl Download {
    /// Returns whether the connection can be used again.
    fn send(self, conversation: &mut Conversation, piece: &[u8]) -> io::Result<bool> {
        match self {
            Self::Length(length) => {
                conversation
                    .send(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n"))?;
                pieces(length, piece, |part| conversation.send(part))?;
            }
            Self::Chunked(length) => {
                conversation.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
                pieces(length, piece, |part| conversation.send_chunk(part))?;
                conversation.send("0\r\n\r\n")?;
            }
            Self::UntilClose(length) => {
                conversation.send("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")?;
                pieces(length, piece, |part| conversation.send(part))?;
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn pieces(
    mut length: u64,
    piece: &[u8],
    mut send: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    while length > 0 {
        let count = piece.len().min(usize::try_from(length).unwrap_or(usize::MAX));
        send(&piece[..count])?;
        length -= count as u64;
    }
    Ok(())
}
