//! Pauses before retries: their bounds, what deadlines and servers make of them, and the experiment
//! that shows what jitter is good for.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use seawall_core::random::Random;
use seawall_core::retry::{Failed, GiveUp, Pause, backoff, pause};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn pauses_are_uniform_up_to_twice_as_much_each_time() {
    let (base, max) = (ms(25), ms(1000));
    for (attempt, longest) in
        [(0, 25), (1, 50), (2, 100), (5, 800), (6, 1000), (31, 1000), (32, 1000), (u32::MAX, 1000)]
    {
        let mut random = Random::seeded(u64::from(attempt));
        let pauses: Vec<_> = (0..4096).map(|_| backoff(attempt, base, max, &mut random)).collect();
        let mean = pauses.iter().sum::<Duration>() / 4096;
        assert!(pauses.iter().all(|&pause| pause <= ms(longest)), "{attempt}");
        let off = mean.as_secs_f64() / ms(longest).as_secs_f64() - 0.5;
        assert!(off.abs() < 0.02, "{attempt}: {mean:?}");
    }
    let mut random = Random::seeded(1);
    assert_eq!(backoff(9, Duration::ZERO, max, &mut random), Duration::ZERO);
    assert!(backoff(40, Duration::MAX, Duration::MAX, &mut random) <= Duration::MAX);
}

const FAILED: Failed = Failed {
    retries: 0,
    base: Duration::from_millis(100),
    max: Duration::from_secs(1),
    retry_after: None,
    patience: Duration::from_secs(5),
    remaining: Duration::from_secs(10),
    typical: None,
};

#[test]
fn deadlines_and_servers_decide_whether_and_how_long() {
    let s = Duration::from_secs;
    let give_up = |why| Err(why);
    for (failed, expect) in [
        (FAILED, Ok((ms(0), ms(100)))),
        (Failed { retries: 2, ..FAILED }, Ok((ms(0), ms(400)))),
        (Failed { retries: 9, ..FAILED }, Ok((ms(0), s(1)))),
        (Failed { remaining: ms(30), ..FAILED }, Ok((ms(0), ms(30)))),
        (Failed { remaining: ms(0), ..FAILED }, give_up(GiveUp::TooLate)),
        (Failed { remaining: ms(99), typical: Some(ms(99)), ..FAILED }, give_up(GiveUp::TooLate)),
        (Failed { remaining: ms(50), typical: Some(s(9)), ..FAILED }, give_up(GiveUp::TooLate)),
        (Failed { remaining: s(1), typical: Some(ms(950)), ..FAILED }, Ok((ms(0), ms(50)))),
        (Failed { retry_after: Some(s(0)), ..FAILED }, Ok((ms(0), ms(100)))),
        (Failed { retry_after: Some(s(4)), ..FAILED }, Ok((s(4), ms(4400)))),
        (Failed { retry_after: Some(ms(100)), ..FAILED }, Ok((ms(100), ms(200)))),
        (Failed { retry_after: Some(s(5)), ..FAILED }, Ok((s(5), ms(5500)))),
        (Failed { retry_after: Some(ms(5001)), ..FAILED }, give_up(GiveUp::AskedForLonger)),
        (
            Failed { retry_after: Some(s(4)), remaining: s(5), typical: Some(s(1)), ..FAILED },
            give_up(GiveUp::AskedForLonger),
        ),
        (
            Failed { retry_after: Some(s(4)), remaining: s(5), typical: Some(ms(900)), ..FAILED },
            Ok((s(4), ms(4100))),
        ),
        (
            Failed {
                retry_after: Some(Duration::MAX),
                patience: Duration::MAX,
                remaining: Duration::MAX,
                ..FAILED
            },
            give_up(GiveUp::AskedForLonger),
        ),
        (
            Failed { base: Duration::MAX, max: Duration::MAX, remaining: s(3), ..FAILED },
            Ok((ms(0), s(3))),
        ),
    ] {
        let mut waits = Vec::new();
        for seed in 0..256 {
            match (pause(&failed, &mut Random::seeded(seed)), expect) {
                (Pause::Wait(wait), Ok((least, most))) => {
                    assert!((least..=most).contains(&wait), "seed {seed}, {failed:?}: {wait:?}");
                    waits.push(wait);
                }
                (Pause::GiveUp(is), Err(expect)) => assert_eq!(is, expect, "{failed:?}"),
                (is, expect) => panic!("seed {seed}, {failed:?}: {is:?}, not {expect:?}"),
            }
        }
        // They use the room there is.
        waits.sort_unstable();
        if let (Some(first), Some(last), Ok((least, most))) = (waits.first(), waits.last(), expect)
        {
            assert!(*last - *first > (most - least).mul_f64(0.9), "{failed:?}");
        }
    }
}

/// How long a client waits before it tries again.
#[derive(Debug, Clone, Copy)]
enum Wait {
    None,
    Exponential,
    EqualJitter,
    FullJitter,
}

/// The experiment of Brooker's article: clients read a row and write it back; a write succeeds
/// only if nobody else has written in between. Network times are normal, 10 ± 2 ms each way. Calls
/// until all have succeeded once, and the time that took.
fn contend(clients: usize, wait: Wait, random: &mut Random) -> (u64, Duration) {
    let network = |random: &mut Random| {
        // The sum of twelve uniform numbers is nearly normal, with variance 1.
        let normal =
            (0..12).map(|_| random.below(1 << 32) as f64 / 4294967296.0).sum::<f64>() - 6.0;
        Duration::from_secs_f64((10.0 + 2.0 * normal).max(0.1) / 1e3)
    };
    let (base, max) = (ms(5), ms(2000));
    #[derive(PartialEq, Eq, PartialOrd, Ord)]
    enum Step {
        Read,
        Write { version: u64 },
    }
    let mut events = BinaryHeap::new();
    let mut failures = vec![0u32; clients];
    for client in 0..clients {
        events.push(Reverse((network(random), client, Step::Read)));
    }
    let (mut version, mut calls, mut end) = (0, 0, Duration::ZERO);
    while let Some(Reverse((now, client, step))) = events.pop() {
        calls += 1;
        let round = network(random) + network(random);
        match step {
            Step::Read => events.push(Reverse((now + round, client, Step::Write { version }))),
            Step::Write { version: seen } if seen == version => {
                version += 1;
                end = now;
            }
            Step::Write { .. } => {
                let attempt = failures[client];
                failures[client] += 1;
                let longest = base.saturating_mul(1 << attempt.min(20)).min(max);
                let pause = match wait {
                    Wait::None => Duration::ZERO,
                    Wait::Exponential => longest,
                    Wait::EqualJitter => longest / 2 + backoff(attempt, base, max, random) / 2,
                    Wait::FullJitter => backoff(attempt, base, max, random),
                };
                events.push(Reverse((now + round + pause, client, Step::Read)));
            }
        }
    }
    assert_eq!(version, clients as u64, "each succeeds once");
    (calls, end)
}

#[test]
fn jitter_saves_calls() {
    let runs = 20;
    let mut means = Vec::new();
    println!("clients | none | exponential | equal jitter | full jitter: calls, seconds");
    for clients in [10, 50, 100, 190] {
        let mean = |wait| {
            let (mut calls, mut time) = (0, Duration::ZERO);
            for seed in 0..runs {
                let (of_run, end) = contend(clients, wait, &mut Random::seeded(seed));
                calls += of_run;
                time += end;
            }
            (calls / runs, time.as_secs_f64() / runs as f64)
        };
        let row = [Wait::None, Wait::Exponential, Wait::EqualJitter, Wait::FullJitter].map(mean);
        let texts = row.map(|(calls, time)| format!("{calls}, {time:.1}"));
        println!("{clients:7} | {}", texts.join(" | "));
        means.push((clients, row));
    }
    let (_, [none, exponential, equal, full]) = means[2];
    assert!(full.0 * 2 < none.0, "less than half of the calls without a pause");
    assert!(full.0 * 2 < exponential.0, "and without jitter");
    assert!(full.0 < equal.0 * 12 / 10, "about as many as with equal jitter");
    assert!(full.1 < exponential.1, "and sooner done than without jitter");
}
