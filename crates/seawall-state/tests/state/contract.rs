//! What holds for whatever nodes share: one suite, for the memory of a process and for Redis.

use std::time::Duration;

use seawall_state::{
    ANSWER_LIMIT, Delivery, MESSAGE_LIMIT, POSITION_BYTES, Position, Published, Turn, Value,
};
use seawall_testkit::PATIENCE;

use crate::nodes::{self, Fleet, until};

/// Each story is told of both.
macro_rules! contract {
    ($($story:ident)*) => {
        mod memory {
            $(#[tokio::test] async fn $story() { super::$story(super::Fleet::memory()).await; })*
        }
        mod redis {
            $(#[tokio::test] async fn $story() { super::$story(super::Fleet::redis()).await; })*
        }
    };
}

contract! {
    one_node_fetches_and_the_others_take_its_answer
    a_lease_that_is_given_back_goes_to_whoever_waits
    patience_ends_before_a_lease_does
    a_lease_that_was_taken_over_publishes_nothing
    an_answer_that_is_no_good_is_fetched_anew
    an_answer_ends
    a_large_answer_travels_and_a_larger_one_does_not
    a_lease_is_taken_and_given_on_any_thread
    all_nodes_hear_all_purges_in_one_order
    a_node_that_was_away_hears_what_it_missed
    a_node_that_was_away_too_long_is_told_so
    a_node_of_another_life_is_told_so
    a_node_hears_that_everything_was_forgotten
    an_answer_says_before_which_purge_its_fetch_began
    a_node_waits_until_it_knows_as_much_as_another
    a_message_has_a_limit
    a_value_is_followed
}

const LONG: Duration = Duration::from_secs(60);

async fn one_node_fetches_and_the_others_take_its_answer(fleet: Fleet) {
    let (a, b, c) = (fleet.node().await, fleet.node().await, fleet.node().await);
    let lease = a.lease("key").await;
    let held = b.held("key").await;
    assert_eq!((held.token, held.position), (lease.token, lease.position));
    a.lease("another key").await;
    let token = lease.token;
    let (turn, published) =
        tokio::join!(held.wait(PATIENCE), lease.publish(b"payload"[..].into(), LONG));
    assert_eq!(published, Published::Yes);
    let Turn::Answer(answer) = turn else { panic!("not an answer: {turn:?}") };
    assert_eq!((answer.token, &answer.payload[..]), (token, &b"payload"[..]));
    for node in [c, a] {
        let again = node.answer("key").await;
        assert_eq!((again.token, &again.payload), (token, &answer.payload));
        assert!(again.left <= answer.left && again.left > LONG / 2, "{again:?}");
    }
}

async fn a_lease_that_is_given_back_goes_to_whoever_waits(fleet: Fleet) {
    let (a, b) = (fleet.node().await, fleet.node().await);
    let lease = a.lease("key").await;
    let waiting = b.held("key").await.wait(PATIENCE);
    let (turn, ()) = tokio::join!(waiting, async { lease.release() });
    assert!(matches!(turn, Turn::Lease(_)), "{turn:?}");
    drop(turn);
    a.lease_again("key").await;
}

async fn patience_ends_before_a_lease_does(fleet: Fleet) {
    let (a, b) = (fleet.node().await, fleet.node().await);
    let lease = a.lease("key").await;
    let turn = b.held("key").await.wait(Duration::from_millis(1)).await;
    let Turn::Held(held) = turn else { panic!("not held: {turn:?}") };
    assert_eq!(held.token, lease.token);
}

async fn a_lease_that_was_taken_over_publishes_nothing(fleet: Fleet) {
    let (a, b, c) = (fleet.node().await, fleet.node().await, fleet.node().await);
    let first = a.lease("key").await;
    let turn = b.state.take(b"key", Some(first.token)).await;
    let Turn::Lease(second) = turn else { panic!("not a lease: {turn:?}") };
    let waiting = c.held("key").await;
    assert_eq!(waiting.token, second.token);
    assert_eq!(first.publish(b"old"[..].into(), LONG).await, Published::NotOurs);
    assert_eq!(c.held("key").await.token, second.token, "it is not given back by another");
    let (turn, published) =
        tokio::join!(waiting.wait(PATIENCE), second.publish(b"new"[..].into(), LONG));
    assert_eq!(published, Published::Yes);
    assert!(matches!(&turn, Turn::Answer(answer) if *answer.payload == *b"new"), "{turn:?}");
}

async fn an_answer_that_is_no_good_is_fetched_anew(fleet: Fleet) {
    let (a, b) = (fleet.node().await, fleet.node().await);
    a.lease("key").await.publish(b"old"[..].into(), LONG).await;
    let old = b.answer("key").await;
    let turn = b.state.take(b"key", Some(old.token)).await;
    let Turn::Lease(lease) = turn else { panic!("not a lease: {turn:?}") };
    assert_eq!(a.answer("key").await.token, old.token, "for others it may be good");
    lease.publish(b"new"[..].into(), LONG).await;
    assert_eq!(a.answer("key").await.payload, &b"new"[..]);
}

async fn an_answer_ends(fleet: Fleet) {
    let (a, b) = (fleet.node().await, fleet.node().await);
    a.lease("key").await.publish(b"short"[..].into(), Duration::from_millis(100)).await;
    b.lease_again("key").await;
}

async fn a_large_answer_travels_and_a_larger_one_does_not(fleet: Fleet) {
    let (a, b) = (fleet.node().await, fleet.node().await);
    let large = vec![7; ANSWER_LIMIT];
    assert_eq!(a.lease("large").await.publish(large.clone().into(), LONG).await, Published::Yes);
    assert_eq!(b.answer("large").await.payload, large);
    let larger = vec![7; ANSWER_LIMIT + 1];
    let published = a.lease("larger").await.publish(larger.into(), LONG).await;
    assert_eq!(published, Published::TooLarge);
    b.lease_again("larger").await;
}

async fn a_lease_is_taken_and_given_on_any_thread(fleet: Fleet) {
    let (a, b) = (fleet.node().await, fleet.node().await);
    let state = a.state.clone();
    // As on a worker: a runtime of its own, on a thread of its own.
    let worker = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let turn = state.take(b"key", None).await;
            let Turn::Lease(lease) = turn else { panic!("not a lease: {turn:?}") };
            assert_eq!(lease.publish(b"payload"[..].into(), LONG).await, Published::Yes);
            assert_eq!(state.publish_purge(b"purge"[..].into()).await, Delivery::Published);
            let turn = state.take(b"dropped", None).await;
            assert!(matches!(turn, Turn::Lease(_)), "{turn:?}");
        });
    });
    worker.await.expect("no panic");
    assert_eq!(b.answer("key").await.payload, &b"payload"[..]);
    b.hears("purge").await;
    b.lease_again("dropped").await;
}

async fn all_nodes_hear_all_purges_in_one_order(fleet: Fleet) {
    let nodes = [fleet.node().await, fleet.node().await, fleet.node().await];
    for round in 0..100 {
        let messages = [0, 1, 2].map(|node| format!("{round} of {node}"));
        let deliveries = tokio::join!(
            nodes[0].publish(&messages[0]),
            nodes[1].publish(&messages[1]),
            nodes[2].publish(&messages[2])
        );
        let published = Delivery::Published;
        assert_eq!(deliveries, (published, published, published));
    }
    for node in &nodes {
        until("all to be heard", || node.heard().len() == 300).await;
        assert_eq!(node.heard(), nodes[0].heard());
        assert!(!node.heard().contains(&"LOST".to_owned()));
    }
    let position = nodes[0].state.position();
    assert!(nodes.iter().all(|node| node.state.position() == position));
}

async fn a_node_that_was_away_hears_what_it_missed(fleet: Fleet) {
    let (a, b) = (fleet.node().await, fleet.node().await);
    a.publish("heard").await;
    b.hears("heard").await;
    let stored: [u8; POSITION_BYTES] = b.state.position().expect("it was current").to_bytes();
    drop(b);
    // More than are read at once.
    let missed: Vec<String> = (0..300).map(|number| format!("missed {number}")).collect();
    for message in &missed {
        a.publish(message).await;
    }
    let b = fleet.node_from(Some(Position::from_bytes(stored)));
    until("the node to be current", || nodes::is_current(&b)).await;
    assert_eq!(b.heard(), missed, "all of it is applied by then, and nothing twice");
    let again = fleet.node_from(b.state.position());
    until("the node to be current", || nodes::is_current(&again)).await;
    assert_eq!(again.heard(), [""; 0]);
}

async fn a_node_that_was_away_too_long_is_told_so(fleet: Fleet) {
    let (a, b) = (fleet.node().await, fleet.node().await);
    let position = b.state.position();
    drop(b);
    for number in 0..3 {
        a.publish(&format!("missed {number}")).await;
    }
    fleet.trim().await;
    let b = fleet.node_from(position);
    until("the node to be current", || nodes::is_current(&b)).await;
    assert_eq!(b.heard()[0], "LOST");
    assert!(!b.heard().contains(&"missed 0".to_owned()), "it is not there any more");
    a.publish("next").await;
    b.hears("next").await;
}

async fn a_node_of_another_life_is_told_so(fleet: Fleet) {
    let a = fleet.node().await;
    a.publish("before").await;
    a.hears("before").await;
    let position = a.state.position();
    drop(a);
    fleet.forget();
    let b = fleet.node().await;
    for number in 0..3 {
        b.publish(&format!("after {number}")).await;
    }
    let a = fleet.node_from(position);
    until("the node to be current", || nodes::is_current(&a)).await;
    assert_eq!(a.heard(), ["LOST", "after 0", "after 1", "after 2"], "all that there still is");
}

async fn a_node_hears_that_everything_was_forgotten(fleet: Fleet) {
    let (a, b) = (fleet.node().await, fleet.node().await);
    let lease = a.lease("key").await;
    fleet.forget();
    for node in [&a, &b] {
        node.hears("LOST").await;
        assert_eq!(node.state.sequence_at(lease.position), None);
    }
    assert_eq!(lease.publish(b"old"[..].into(), LONG).await, Published::NotOurs);
    let lease = b.lease_again("key").await;
    assert!(b.state.sequence_at(lease.position).is_some());
    a.publish("next").await;
    b.hears("next").await;
}

async fn an_answer_says_before_which_purge_its_fetch_began(fleet: Fleet) {
    let (a, b) = (fleet.node().await, fleet.node().await);
    let before = a.lease("before").await;
    a.publish("purge").await;
    b.hears("purge").await;
    let after = a.lease("after").await;
    before.publish(b"x"[..].into(), LONG).await;
    after.publish(b"x"[..].into(), LONG).await;
    // The count of a node of these tests is how many it heard.
    let count = |position| b.state.sequence_at(position);
    assert_eq!(count(b.answer("before").await.position), Some(0));
    assert_eq!(count(b.answer("after").await.position), Some(1));
}

async fn a_node_waits_until_it_knows_as_much_as_another(fleet: Fleet) {
    let (a, b) = (fleet.node().await, fleet.node().await);
    for round in 0..20 {
        a.publish("purge").await;
        until("the publisher to know", || a.heard().len() > round).await;
        let told = a.state.position().expect("it is current").to_text();
        let position = Position::from_text(told.as_bytes()).expect("ours");
        assert!(b.state.reaches(position, PATIENCE).await);
        assert!(b.heard().len() > round);
    }
    let position = a.state.position().expect("it is current");
    fleet.forget();
    b.hears("LOST").await;
    assert!(!b.state.reaches(position, Duration::from_millis(1)).await, "of another life");
}

async fn a_message_has_a_limit(fleet: Fleet) {
    let (a, b) = (fleet.node().await, fleet.node().await);
    let large = "x".repeat(MESSAGE_LIMIT);
    assert_eq!(a.publish(&format!("{large}x")).await, Delivery::TooLarge);
    a.state.send_purge(format!("{large}y").into());
    assert_eq!(a.publish(&large).await, Delivery::Published);
    b.hears(&large).await;
    assert_eq!(b.heard().len(), 1);
    a.state.send_purge(b"small"[..].into());
    b.hears("small").await;
}

async fn a_value_is_followed(fleet: Fleet) {
    let node = fleet.node().await;
    fleet.set("version", "1");
    let text = |text: &str| Value::Text(text.into());
    let version = node.state.watch("version");
    let other = node.state.watch("other");
    until("the first value", || *version.value() == text("1")).await;
    until("the other value", || *other.value() == Value::Absent).await;
    fleet.set("version", "2");
    until("the second value", || *version.value() == text("2")).await;
    fleet.set("version", "");
    until("no value", || *version.value() == Value::Absent).await;
}
