//! The wait queue: its order, its limits, that nobody is lost, and what it is worth in an overload.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::time::Duration;

use seawall_core::queue::{Full, Key, Queue, Settings, Why};
use seawall_core::random::Random;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const LATE: Duration = Duration::from_secs(3600);

/// Pushes without looking at who is dropped, where none can be.
fn push(queue: &mut Queue<u32>, now: u64, deadline: Duration, item: u32) -> Key {
    let mut dropped = Vec::new();
    let key = queue.push(ms(now), deadline, item, &mut dropped).expect("there is room");
    assert_eq!(dropped, []);
    key
}

fn pop(queue: &mut Queue<u32>, now: u64) -> (Option<u32>, Vec<(u32, Why)>) {
    let mut dropped = Vec::new();
    (queue.pop(ms(now), &mut dropped), dropped)
}

/// A queue in which 0 to 9 have waited since 10 ms times their number, overloaded at 1500 ms.
fn overloaded() -> Queue<u32> {
    let settings = Settings { short: ms(5000), ..Settings::of_size(10) };
    let mut queue = Queue::new(settings);
    for item in 0..10 {
        push(&mut queue, u64::from(item) * 10, LATE, item);
    }
    assert_eq!(pop(&mut queue, 400).0, Some(0), "not the newest at once");
    assert!(!queue.is_overloaded());
    assert_eq!(pop(&mut queue, 1399).0, Some(1));
    assert_eq!(pop(&mut queue, 1400).0, Some(9), "a second beyond the target");
    assert!(queue.is_overloaded());
    queue
}

#[test]
fn first_come_first_served() {
    let mut queue = Queue::new(Settings::of_size(3));
    for item in 0..3 {
        push(&mut queue, 0, LATE, item);
    }
    assert_eq!(queue.push(ms(0), LATE, 9, &mut Vec::new()), Err(Full(9)));
    assert_eq!((queue.len(), pop(&mut queue, 1)), (3, (Some(0), vec![])));
    push(&mut queue, 2, LATE, 3);
    for expect in [Some(1), Some(2), Some(3), None] {
        assert_eq!(pop(&mut queue, 3).0, expect);
    }
    assert!(queue.is_empty());
    let mut none = Queue::new(Settings::of_size(0));
    assert_eq!(none.push(ms(0), LATE, 9, &mut Vec::new()), Err(Full(9)));
}

#[test]
fn those_whose_deadline_has_passed_are_dropped_wherever_they_are() {
    let mut queue = Queue::new(Settings::of_size(3));
    push(&mut queue, 0, ms(50), 1);
    push(&mut queue, 0, ms(10), 2);
    push(&mut queue, 0, ms(30), 3);
    assert_eq!(queue.next_deadline(), Some(ms(10)));
    let mut dropped = Vec::new();
    queue.sweep(ms(9), &mut dropped);
    assert_eq!(dropped, []);
    // They make room too.
    queue.push(ms(10), ms(60), 4, &mut dropped).expect("one has gone");
    assert_eq!(dropped, [(2, Why::Expired)]);
    assert_eq!(pop(&mut queue, 30), (Some(1), vec![(3, Why::Expired)]));
    assert_eq!(pop(&mut queue, 60), (None, vec![(4, Why::Expired)]));
    assert_eq!(queue.next_deadline(), None);
}

#[test]
fn one_that_leaves_takes_nobody_with_it() {
    let mut queue = Queue::new(Settings::of_size(5));
    let keys: Vec<_> = (0..5).map(|item| push(&mut queue, 0, LATE, item)).collect();
    for (at, expect) in [(2, Some(2)), (2, None), (0, Some(0)), (4, Some(4))] {
        assert_eq!(queue.remove(keys[at]), expect, "{at}");
    }
    // The places are given to others, whom the old keys do not fit.
    let new: Vec<_> = (5..8).map(|item| push(&mut queue, 0, LATE, item)).collect();
    assert!(keys.iter().filter(|key| queue.remove(**key).is_some()).count() == 2);
    assert_eq!(queue.remove(new[1]), Some(6));
    assert_eq!(pop(&mut queue, 1).0, Some(5));
    assert_eq!(queue.remove(new[0]), None, "served before");
    assert_eq!(queue.drain().collect::<Vec<_>>(), [7]);
    assert!(queue.is_empty() && queue.remove(new[2]).is_none());
}

#[test]
fn in_an_overload_the_newest_are_served_first() {
    let mut queue = overloaded();
    assert_eq!(pop(&mut queue, 1401).0, Some(8));
    // When it is full, the oldest makes room.
    let mut dropped = Vec::new();
    for item in 10..16 {
        queue.push(ms(1402), LATE, item, &mut dropped).expect("there is always room");
    }
    assert_eq!(dropped, [(2, Why::Overloaded), (3, Why::Overloaded)]);
    assert_eq!((queue.len(), pop(&mut queue, 1403).0), (10, Some(15)));
}

#[test]
fn in_an_overload_nobody_waits_for_long() {
    let mut queue = overloaded();
    queue.configure(Settings { short: ms(1340), ..Settings::of_size(10) });
    assert_eq!(queue.next_deadline(), Some(ms(1360)), "the oldest came at 20 ms");
    let (next, dropped) = pop(&mut queue, 1401);
    let expect: Vec<_> = (2..7).map(|item| (item, Why::Overloaded)).collect();
    assert_eq!((next, dropped), (Some(8), expect));
}

#[test]
fn an_overload_is_over_when_waits_are_short_again() {
    let mut queue = overloaded();
    for item in [8, 7, 6, 5, 4, 3, 2] {
        assert_eq!(pop(&mut queue, 1500).0, Some(item));
        assert!(queue.is_overloaded());
    }
    push(&mut queue, 1550, LATE, 1);
    assert!(!queue.is_overloaded(), "it was empty");
    // A wait of some more than half the target keeps it up, less does not.
    for (wait, expect) in [(51, true), (50, false)] {
        let mut queue = overloaded();
        let mut dropped = Vec::new();
        queue.push(ms(1450), LATE, 99, &mut dropped).expect("there is room");
        let others = queue.len() - 1;
        queue.drain().take(others).for_each(drop);
        queue.sweep(ms(1450 + wait), &mut dropped);
        assert_eq!(queue.is_overloaded(), expect, "{wait}");
    }
}

#[test]
fn a_burst_is_no_overload() {
    // 300 at once, every second, served at 1 a millisecond: waits up to 300 ms, and all in order.
    let mut queue = Queue::new(Settings::of_size(1000));
    for start in [0, 1000, 2000, 3000] {
        for item in 0..300 {
            push(&mut queue, start, LATE, item);
        }
        for item in 0..300 {
            assert_eq!(pop(&mut queue, start + u64::from(item) + 1), (Some(item), vec![]));
            assert!(!queue.is_overloaded());
        }
    }
}

/// Whatever happens: each that was pushed is popped, dropped or removed, once; none is popped after
/// its deadline; the order is right; and there are never too many.
#[test]
fn nobody_is_lost() {
    #[derive(Debug, PartialEq)]
    enum End {
        Popped,
        Dropped,
        Removed,
    }
    let mut overloads = 0;
    for seed in 0..256 {
        let mut random = Random::seeded(seed);
        let settings = Settings {
            size: random.below(40) as usize,
            target: ms(random.below(50)),
            interval: ms(random.below(200)),
            short: ms(1 + random.below(100)),
        };
        let mut queue = Queue::new(settings);
        let mut now = ms(0);
        let mut waiting: BTreeMap<u32, (Key, Duration)> = BTreeMap::new();
        let mut ended: BTreeMap<u32, End> = BTreeMap::new();
        let mut refused = 0;
        let pushed = 3000;
        let mut next = 0;
        while next < pushed || !queue.is_empty() {
            let context = format!("seed {seed} at {now:?}");
            let mut dropped = Vec::new();
            let mut end = |item, how| assert_eq!(ended.insert(item, how), None, "{context}: twice");
            now += ms(random.below(4) * random.below(8));
            // Sometimes a clock is behind.
            let told = if random.below(20) == 0 { now / 2 } else { now };
            match random.below(12) {
                0..6 if next < pushed => {
                    let deadline = now + ms(random.below(400));
                    match queue.push(told, deadline, next, &mut dropped) {
                        Ok(key) => assert_eq!(waiting.insert(next, (key, deadline)), None),
                        Err(Full(item)) => {
                            assert_eq!(item, next);
                            assert!(queue.len() >= settings.size, "{context}: refused for nothing");
                            refused += 1;
                        }
                    }
                    next += 1;
                }
                6..10 => {
                    if let Some(item) = queue.pop(told, &mut dropped) {
                        let (_, deadline) = waiting.remove(&item).expect("it waited");
                        assert!(deadline > told, "{context}: too late");
                        // In order, as far as those still matter.
                        waiting
                            .retain(|item, _| !dropped.iter().any(|(dropped, _)| dropped == item));
                        let order = if queue.is_overloaded() {
                            waiting.keys().next_back().is_none_or(|newest| *newest < item)
                        } else {
                            waiting.keys().next().is_none_or(|oldest| *oldest > item)
                        };
                        assert!(order, "{context}: {item} out of turn");
                        end(item, End::Popped);
                    }
                }
                10 => queue.sweep(told, &mut dropped),
                _ => {
                    let at = random.below(waiting.len() as u64 + 1) as usize;
                    if let Some((&item, &(key, _))) = waiting.iter().nth(at) {
                        assert_eq!(queue.remove(key), Some(item), "{context}");
                        assert_eq!(queue.remove(key), None, "{context}: twice");
                        waiting.remove(&item);
                        end(item, End::Removed);
                    }
                }
            }
            for (item, why) in dropped {
                if let Some((_, deadline)) = waiting.remove(&item) {
                    assert!(why == Why::Overloaded || deadline <= now, "{context}: dropped early");
                }
                end(item, End::Dropped);
            }
            overloads += u32::from(queue.is_overloaded());
            assert_eq!(queue.len(), waiting.len(), "{context}");
            assert!(queue.len() <= settings.size, "{context}");
            let soonest = waiting.values().map(|(_, deadline)| *deadline).min();
            assert!(queue.next_deadline() <= soonest, "{context}");
            assert_eq!(queue.next_deadline().is_some(), soonest.is_some(), "{context}");
        }
        assert_eq!(ended.len() + refused, pushed as usize, "seed {seed}");
    }
    assert!(overloads > 10_000, "this was no test: {overloads}");
}

/// What is asked of a queue in the simulation of an overload.
trait Line {
    fn push(&mut self, now: Duration, deadline: Duration, arrived: Duration);
    fn pop(&mut self, now: Duration) -> Option<(Duration, Duration)>;
}

impl Line for Queue<(Duration, Duration)> {
    fn push(&mut self, now: Duration, deadline: Duration, arrived: Duration) {
        // Who is refused or dropped is answered 503, and counts as that.
        let _ = Queue::push(self, now, deadline, (arrived, deadline), &mut Vec::new());
    }

    fn pop(&mut self, now: Duration) -> Option<(Duration, Duration)> {
        let next = Queue::pop(self, now, &mut Vec::new());
        assert!(next.is_none_or(|(_, deadline)| deadline > now), "served after its deadline");
        next
    }
}

/// A list, at best one that drops those whose deadline has passed.
struct Plain {
    list: VecDeque<(Duration, Duration)>,
    size: usize,
    drops: bool,
}

impl Line for Plain {
    fn push(&mut self, _: Duration, deadline: Duration, arrived: Duration) {
        if self.list.len() < self.size {
            self.list.push_back((arrived, deadline));
        }
    }

    fn pop(&mut self, now: Duration) -> Option<(Duration, Duration)> {
        while let Some(next) = self.list.pop_front() {
            if !self.drops || next.1 > now {
                return Some(next);
            }
        }
        None
    }
}

#[derive(Debug)]
struct Outcome {
    /// Answers within the deadline, as a share of what the server can do.
    good: f64,
    /// Of these: the median and the 99th percentile of the whole time, in milliseconds.
    p50: u128,
    p99: u128,
}

/// Ten places, 20 ms (exponential) for each answer, so 500 a second at best; arrivals at random,
/// `load` times that, for 20 s; each must be answered within a second.
fn simulate(line: &mut impl Line, load: f64, seed: u64) -> Outcome {
    let mut random = Random::seeded(seed);
    let mut exponential = |mean: f64| {
        let uniform = (random.below(1 << 32) + 1) as f64 / 4294967296.0;
        Duration::from_secs_f64(-uniform.ln() * mean)
    };
    let (places, service, patience, length) = (10, 0.020, ms(1000), Duration::from_secs(20));
    let between = service / places as f64 / load;
    let mut ends: BinaryHeap<Reverse<Duration>> = BinaryHeap::new();
    let mut answers = Vec::new();
    let mut arrival = exponential(between);
    while arrival < length || !ends.is_empty() {
        let is_end = ends.peek().is_some_and(|Reverse(end)| *end <= arrival || arrival >= length);
        let now = if is_end { ends.pop().map_or(arrival, |Reverse(end)| end) } else { arrival };
        if !is_end {
            line.push(now, now + patience, now);
            arrival += exponential(between);
        }
        while ends.len() < places {
            let Some((arrived, deadline)) = line.pop(now) else { break };
            let end = now + exponential(service);
            ends.push(Reverse(end));
            answers.extend((end <= deadline).then_some(end - arrived));
        }
    }
    answers.sort_unstable();
    let at = |share: usize| answers.get(answers.len() * share / 100).map_or(0, Duration::as_millis);
    let best = length.as_secs_f64() * places as f64 / service;
    Outcome { good: answers.len() as f64 / best, p50: at(50), p99: at(99) }
}

#[test]
fn in_an_overload_it_answers_far_more_in_time_than_a_plain_list() {
    println!(
        "load | plain | with deadlines | this: good answers of what is possible, p50, p99 in ms"
    );
    for load in [0.5, 0.9, 1.1, 1.5, 2.0, 5.0] {
        let size = 1000;
        let mean = |run: &dyn Fn(u64) -> Outcome| {
            let outcomes: Vec<_> = (0..16).map(run).collect();
            let mean = |of: &dyn Fn(&Outcome) -> f64| outcomes.iter().map(of).sum::<f64>() / 16.0;
            (mean(&|o| o.good), mean(&|o| o.p50 as f64), mean(&|o| o.p99 as f64))
        };
        let plain = |drops| {
            move |seed| simulate(&mut Plain { list: VecDeque::new(), size, drops }, load, seed)
        };
        let this = |seed| simulate(&mut Queue::new(Settings::of_size(size)), load, seed);
        let rows = [mean(&plain(false)), mean(&plain(true)), mean(&this)];
        let text =
            rows.map(|(good, p50, p99)| format!("{:3.0} %, {p50:.0}, {p99:.0}", good * 100.0));
        println!("{load:4} | {}", text.join(" | "));
        let [(plain, ..), (deadlines, ..), (this, p50, p99)] = rows;
        let possible = f64::min(load, 1.0);
        assert!(this > possible * 0.93, "{load}: {this}");
        if load >= 2.0 {
            assert!(plain < 0.2, "{load}: a plain list works for those who have left, {plain}");
            assert!(this > deadlines, "{load}: {this} {deadlines}");
            assert!(p50 < 100.0 && p99 < 1000.0, "{load}: {p50} {p99}");
        }
    }
}

#[test]
fn who_was_let_in_in_vain_gets_its_place_back() {
    let mut queue = Queue::new(Settings::of_size(3));
    let mut dropped = Vec::new();
    for (at, name) in [(0, 'a'), (1, 'b'), (2, 'c')] {
        queue.push(ms(at), ms(1000), name, &mut dropped).expect("there is room");
    }
    let mut pop = |queue: &mut Queue<char>| queue.pop(ms(3), &mut dropped);
    assert_eq!((pop(&mut queue), pop(&mut queue)), (Some('a'), Some('b')));
    // Whatever order they come back in, and though the queue was filled in between.
    let b = queue.put_back(ms(1), ms(1000), 'b');
    queue.put_back(ms(0), ms(1000), 'a');
    assert_eq!(queue.len(), 3);
    assert_eq!(pop(&mut queue), Some('a'));
    assert_eq!(queue.remove(b), Some('b'));
    queue.put_back(ms(1), ms(1000), 'b');
    assert_eq!((pop(&mut queue), pop(&mut queue), pop(&mut queue)), (Some('b'), Some('c'), None));
    assert!(dropped.is_empty());
}
