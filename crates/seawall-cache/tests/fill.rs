//! What fills hold, and for whom.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use seawall_cache::fill::{Fills, Follow, Join, Lead, Unread, Verdict};
use seawall_cache::object::{CHUNK, Content, Flags, Meta, Object};

const PIECE: u64 = 64 << 10;

/// A fill of this key, and who leads it.
fn begin(fills: &Arc<Fills<()>>, key: &[u8]) -> (Lead<()>, Follow<()>) {
    match fills.join(1, key, 0, 0, 100, |_| true) {
        Join::Lead(lead, follow) => (lead, follow),
        Join::Follow(_) | Join::Crowded => panic!("there is one"),
    }
}

fn join(fills: &Arc<Fills<()>>, key: &[u8]) -> Join<()> {
    fills.join(1, key, 0, 0, 100, |_| true)
}

fn piece() -> Bytes {
    Bytes::from_static(&[7; PIECE as usize])
}

/// The head of an answer, which says whether it can be fetched in parts.
fn arriving(ranges: bool) -> Verdict<()> {
    let meta = Meta {
        received: 0,
        lifetime: 1_000,
        sequence: 0,
        initial_age: 0,
        stale_while_revalidate: 0,
        stale_if_error: 0,
        cost: 0,
        status: 200,
        flags: Flags { strong: ranges, ranges, ..Flags::default() },
    };
    let content = Content::Arriving { length: Some(100 * CHUNK), kept: true };
    Verdict::Answer {
        object: Arc::new(Object::new(meta, b"key", b"", &[], content, &[])),
        variants: None,
    }
}

fn read(follow: &mut Follow<()>, at: u64) -> Result<u64, Unread> {
    match follow.poll_read(at, &mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(piece)) => Ok(piece.map_or(0, |piece| piece.len() as u64)),
        Poll::Ready(Err(unread)) => Err(unread),
        Poll::Pending => Ok(0),
    }
}

/// Appends for as long as whoever leads may.
fn append_all(lead: &Lead<()>, may: impl Fn(&Lead<()>, &mut Context<'_>) -> Poll<bool>) -> u64 {
    let mut appended = 0;
    while may(lead, &mut Context::from_waker(Waker::noop())).is_ready() && appended < 64 * CHUNK {
        lead.append(piece());
        appended += PIECE;
    }
    appended
}

/// Whoever reads alone finds all that he has not read yet, wherever he is in a chunk, even if
/// nothing of it is in the store.
#[test]
fn the_fastest_reader_is_never_left_behind() {
    let fills = Arc::new(Fills::new(0, 1 << 30));
    let (lead, mut follow) = begin(&fills, b"key");
    let mut at = 0;
    while at < 40 * CHUNK {
        append_all(&lead, |lead, cx| lead.poll_room(7 * CHUNK, cx));
        let got = read(&mut follow, at).expect("it is here");
        assert!(got > 0, "at {at}");
        at += got.min(PIECE);
    }
    // One who was faster and has left does not count.
    let Join::Follow(mut faster) = join(&fills, b"key") else { panic!("it is open") };
    assert!(read(&mut faster, lead.arrived()).is_ok());
    drop(faster);
    assert!(append_all(&lead, |lead, cx| lead.poll_room(7 * CHUNK, cx)) <= PIECE);
    assert!(read(&mut follow, at).is_ok_and(|got| got > 0));
}

/// Those who come when the beginning is gone for good begin anew.
#[test]
fn who_comes_too_late_does_not_join() {
    for (stored, ranges, joins) in [(false, false, false), (true, false, true), (false, true, true)]
    {
        let fills = Arc::new(Fills::new(0, 1 << 30));
        let (lead, _follow) = begin(&fills, b"key");
        lead.say(arriving(ranges));
        if stored {
            lead.is_stored();
        }
        for _ in 0..8 * CHUNK / PIECE {
            lead.append(piece());
        }
        assert!(matches!(join(&fills, b"key"), Join::Follow(_)), "all is here");
        for _ in 0..CHUNK / PIECE {
            lead.append(piece());
        }
        let joined = join(&fills, b"key");
        assert_eq!(matches!(joined, Join::Follow(_)), joins, "stored {stored}, ranges {ranges}");
    }
}

/// Of what is only passed on, no more is held than the slowest reader is behind.
#[test]
fn what_is_passed_on_is_not_held() {
    let fills = Arc::new(Fills::new(0, CHUNK));
    let (lead, mut fast) = begin(&fills, b"key");
    let Join::Follow(mut slow) = join(&fills, b"key") else { panic!("it is open") };
    lead.pass_on();
    let (mut fast_at, mut slow_at) = (0, 0);
    while slow_at < 20 * CHUNK {
        append_all(&lead, |lead, cx| lead.poll_slowest(cx));
        fast_at += read(&mut fast, fast_at).expect("it is here");
        slow_at += read(&mut slow, slow_at).expect("it is here");
        assert!(fills.held() <= 2 * CHUNK, "{} at {slow_at}", fills.held());
    }
    drop(slow);
    while fast_at < 40 * CHUNK {
        append_all(&lead, |lead, cx| lead.poll_slowest(cx));
        fast_at += read(&mut fast, fast_at).expect("it is here");
    }
    assert!(fills.held() <= 2 * CHUNK, "{}", fills.held());
    drop((lead, fast));
    assert_eq!(fills.held(), 0);
}

/// Fills that begin while there is room do not come to hold more than there is, all together.
#[test]
fn all_together_hold_what_there_is_room_for() {
    const MOST: u64 = 16 * CHUNK;
    let fills = Arc::new(Fills::new(0, MOST));
    let all: Vec<_> = (0..100u8).map(|key| begin(&fills, &[key])).collect();
    let large: Vec<_> = all.iter().filter(|(lead, _)| lead.reserve(2 * CHUNK)).collect();
    assert_eq!(large.len() as u64, MOST / (2 * CHUNK), "as many as there is room for");
    assert!(large.iter().all(|(lead, _)| lead.reserve(CHUNK)), "what is granted stays so");
    for (lead, _) in &large {
        lead.is_stored();
    }
    for _ in 0..20 * CHUNK / PIECE {
        for (lead, _) in &large {
            lead.append(piece());
        }
        assert!(fills.held() <= MOST + CHUNK, "{}", fills.held());
    }
    drop(all);
    assert_eq!(fills.held(), 0);
    // Where there is room for none at all, one goes on all the same.
    fills.set_most(1);
    let (one, _follow) = begin(&fills, b"one");
    let (other, _other) = begin(&fills, b"other");
    assert!(one.reserve(2 * CHUNK));
    assert!(!other.reserve(2 * CHUNK));
    other.hold(CHUNK);
    assert_eq!(fills.held(), 3 * CHUNK);
    assert!(matches!(join(&fills, b"third"), Join::Crowded));
}
