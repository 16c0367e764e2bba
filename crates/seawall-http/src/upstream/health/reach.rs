//! Whether a server that could not be connected to can be again. Tries in the background, so that
//! no request has to, and keeps the server out of use meanwhile. Opens connections and sends
//! nothing. One for each server, whether it is checked or not.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use seawall_core::jitter;
use tokio::time::{sleep, timeout};

use super::Post;

/// The pause before the first attempt.
const FIRST: Duration = Duration::from_secs(1);

/// Each pause is so much longer than the one before it, in percent, ±10 %.
const GROWTH: u32 = 150;

/// The longest.
const LONGEST: Duration = Duration::from_secs(10);

/// How much longer than the next attempt should take the server is kept out of use. When the
/// attempts stop for whatever reason, requests try it themselves.
const SLACK: Duration = Duration::from_secs(2);

pub(super) async fn run(post: &Post) {
    let mut random = post.random();
    loop {
        // One that returns may have been lost when it was last here.
        if post.server.held_until.load(Relaxed) == 0 {
            tokio::select! {
                () = post.server.notes.lost.notified() => {}
                () = post.server.notes.doubted.notified() => {
                    let tried = connect(post).await;
                    post.note_connection(tried.as_ref().copied().map_err(String::as_str));
                    continue;
                }
            }
        }
        let mut pause = FIRST;
        loop {
            let patience = post.setting.borrow().connect_timeout;
            let this = jitter::around(&mut random, pause, 100);
            hold(post, this + patience + SLACK);
            sleep(this).await;
            if post.server.held_until.load(Relaxed) == 0 {
                // A request or a check was quicker.
                break;
            }
            if connect(post).await.is_ok() {
                post.note_connection(Ok(()));
                break;
            }
            pause = (pause * GROWTH / 100).min(LONGEST);
        }
    }
}

/// Opens a connection, or says why not.
async fn connect(post: &Post) -> Result<(), String> {
    let patience = post.setting.borrow().connect_timeout;
    let _open = post.control.gate.acquire().await.map_err(|error| error.to_string())?;
    let connecting = (post.control.connect)(post.server.address);
    match timeout(patience, connecting).await {
        Ok(opened) => opened.map_err(|error| error.to_string()),
        Err(_) => Err("timed out".to_owned()),
    }
}

/// Keeps the server out of use for so long from now on, unless it was connected to meanwhile.
fn hold(post: &Post, long: Duration) {
    let until = post.control.millis() + long.as_millis() as u64;
    let later = |held| (held != 0).then_some(until.max(held));
    let _ = post.server.held_until.fetch_update(Relaxed, Relaxed, later);
}
