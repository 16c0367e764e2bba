//! Passive ejection against simulated servers: whom it finds, how soon, whom it leaves alone, and
//! what holds whatever comes in.

use std::collections::BTreeMap;
use std::time::Duration;

use seawall_core::eject::{
    Ejector, Observation, Prevented, Returned, Settings, Verdict, log_latency,
};
use seawall_core::random::Random;

const TICK: Duration = Duration::from_millis(100);

/// Only comparisons with the others.
const OUTLIERS: Settings = Settings {
    errors: 0,
    outliers: true,
    base: Duration::from_secs(10),
    longest: Duration::from_secs(300),
    at_most: 500,
};

/// A server that fails and takes its time at random.
#[derive(Debug, Clone, Copy)]
struct Server {
    /// Requests in a tick, in thousandths.
    rate: u64,
    /// Failures for each 1000 requests, with status 500,
    failing: u64,
    /// or as gateway errors.
    refusing: u64,
    latency: Duration,
    usable: bool,
    consecutive: u32,
    requests: u64,
}

impl Server {
    fn new(rate: u64, failing: u64) -> Server {
        let latency = Duration::from_millis(10);
        Server { rate, failing, refusing: 0, latency, usable: true, consecutive: 0, requests: 0 }
    }

    fn observe(&mut self, server: u32, is_out: bool, random: &mut Random) -> Observation<u32> {
        let mut seen = nothing(server);
        seen.usable = self.usable;
        let requests = self.rate / 1000 + u64::from(random.below(1000) < self.rate % 1000);
        for _ in 0..if is_out { 0 } else { requests } {
            seen.requests += 1;
            let draw = random.below(1000);
            if draw < self.refusing {
                seen.gateway_errors += 1;
                self.consecutive += 1;
                continue;
            }
            self.consecutive = 0;
            seen.server_errors += u64::from(draw < self.refusing + self.failing);
            seen.answers += 1;
            // Between nothing and twice the mean, with some far above.
            let most = if random.below(20) == 0 { 8000 } else { 1700 };
            let spread = random.below(most);
            seen.log_latency += log_latency(self.latency * spread as u32 / 1000);
        }
        seen.consecutive = self.consecutive;
        self.requests += seen.requests;
        seen
    }
}

fn nothing(server: u32) -> Observation<u32> {
    Observation {
        server,
        requests: 0,
        gateway_errors: 0,
        server_errors: 0,
        answers: 0,
        log_latency: 0,
        consecutive: 0,
        usable: true,
    }
}

struct Pool {
    servers: Vec<Server>,
    ejector: Ejector<u32>,
    now: Duration,
    random: Random,
}

impl Pool {
    fn new(settings: Settings, servers: Vec<Server>, seed: u64) -> Pool {
        let ejector = Ejector::new(settings);
        Pool { servers, ejector, now: Duration::ZERO, random: Random::seeded(seed) }
    }

    fn tick(&mut self) -> Vec<Verdict<u32>> {
        self.now += TICK;
        let Pool { servers, ejector, now, random } = self;
        let observe = |(at, server): (usize, &mut Server)| {
            let is_out = ejector.out_until(at as u32).is_some_and(|until| until > *now);
            server.observe(at as u32, is_out, random)
        };
        let observed: Vec<_> = servers.iter_mut().enumerate().map(observe).collect();
        ejector.tick(*now, &observed, random)
    }

    fn run(&mut self, time: Duration) -> Vec<Verdict<u32>> {
        let end = self.now + time;
        let mut verdicts = Vec::new();
        while self.now < end {
            verdicts.extend(self.tick());
        }
        verdicts
    }

    /// Runs until `server` is ejected, or for an hour. Others must not be.
    fn until_ejected(&mut self, server: u32) -> Option<(Duration, String)> {
        let start = self.now;
        while self.now - start < Duration::from_secs(3600) {
            match &self.tick()[..] {
                [] => {}
                [Verdict::Eject { server: ejected, until, reason }] => {
                    assert_eq!(*ejected, server, "{reason}");
                    assert!(*until > self.now);
                    return Some((self.now - start, reason.clone()));
                }
                other => panic!("{other:?}"),
            }
        }
        None
    }
}

#[test]
fn five_gateway_errors_in_a_row_are_enough() {
    let mut good = Server::new(2000, 0);
    let mut bad = Server::new(1000, 0);
    good.latency = Duration::from_millis(100);
    bad.refusing = 1000;
    let mut pool = Pool::new(Settings::default(), vec![good, bad, good], 1);
    assert!(pool.run(TICK * 4).is_empty());
    let verdicts = pool.tick();
    let [Verdict::Eject { server: 1, until, reason }] = &verdicts[..] else {
        panic!("{verdicts:?}");
    };
    assert_eq!(reason, "5 gateway errors in a row");
    let time = *until - pool.now;
    assert!(time >= Duration::from_secs(10) && time <= Duration::from_secs(11), "{time:?}");
    assert!(pool.run(time - TICK).is_empty());
    // Back in use, it begins with a clean sheet: as many errors as the first time, of which this
    // tick brings one.
    let back = Verdict::Return { server: 1, why: Returned::TimeOver };
    assert_eq!(pool.run(TICK), [back]);
    assert!(pool.run(TICK * 3).is_empty());
    assert!(matches!(pool.tick()[..], [Verdict::Eject { server: 1, .. }]));
    assert_eq!(pool.ejector.times(1), 2);
}

#[test]
fn errors_of_requests_from_before_the_ejection_do_not_count_after_it() {
    let mut ejector = Ejector::new(Settings::default());
    let mut random = Random::seeded(1);
    let mut tick = |now: u64, consecutive: u32, errors: u64| {
        let bad =
            Observation { requests: errors, gateway_errors: errors, consecutive, ..nothing(0) };
        ejector.tick(Duration::from_secs(now), &[bad, nothing(1)], &mut random)
    };
    assert!(matches!(tick(1, 5, 5)[..], [Verdict::Eject { server: 0, .. }]));
    assert_eq!(tick(2, 40, 35), [], "stragglers");
    assert_eq!(tick(20, 40, 0), [Verdict::Return { server: 0, why: Returned::TimeOver }]);
    assert_eq!(tick(21, 44, 4), [], "four in a row are not five");
    assert_eq!(tick(22, 4, 5), [], "an answer, and four in a row");
    assert!(matches!(tick(23, 5, 1)[..], [Verdict::Eject { server: 0, .. }]));
}

#[test]
fn a_check_that_rose_ends_an_ejection() {
    let mut ejector = Ejector::new(Settings::default());
    let mut random = Random::seeded(1);
    let bad = Observation { requests: 5, gateway_errors: 5, consecutive: 5, ..nothing(0) };
    assert_eq!(ejector.healthy_again(0), None);
    ejector.tick(TICK, &[bad, nothing(1)], &mut random);
    assert!(ejector.out_until(0).is_some());
    let back = Verdict::Return { server: 0, why: Returned::Healthy };
    assert_eq!(ejector.healthy_again(0), Some(back));
    assert_eq!(ejector.healthy_again(0), None);
    let same = Observation { consecutive: 5, ..nothing(0) };
    assert_eq!(ejector.tick(TICK * 2, &[same, nothing(1)], &mut random), [], "forgiven");
}

/// Given as (requests, failed) of one server, and of each of two others.
#[test]
fn chance_is_not_evidence_and_evidence_is_enough() {
    for (own, others, expect) in [
        ((5, 3), (5, 0), None),
        ((5, 5), (5, 0), None),
        ((20, 20), (20, 0), Some("20 of 20 answers failed while the others fail 0 %")),
        ((40, 37), (300, 3), Some("37 of 40 answers failed while the others fail 1.0 %")),
        ((20, 20), (20, 20), None),
        ((1000, 1000), (1000, 600), None),
        ((1000, 600), (1000, 400), None),
        ((1000, 900), (1000, 400), Some("900 of 1000 answers failed while the others fail 40 %")),
        ((1000, 50), (1000, 10), None),
        ((1000, 200), (1000, 10), Some("200 of 1000 answers failed while the others fail 1.0 %")),
        ((10, 10), (0, 0), None),
        ((1000, 20), (1000, 0), None),
        (
            (100_000, 20_000),
            (1_000_000, 1),
            Some("20000 of 100000 answers failed while the others fail less than 0.1 %"),
        ),
    ] {
        let seen = |server, (requests, failed)| Observation {
            requests,
            server_errors: failed,
            ..nothing(server)
        };
        let observed = [seen(0, own), seen(1, others), seen(2, others)];
        let mut ejector = Ejector::new(OUTLIERS);
        let verdicts = ejector.tick(TICK, &observed, &mut Random::seeded(1));
        let reason = match &verdicts[..] {
            [Verdict::Eject { server: 0, reason, .. }] => Some(reason.as_str()),
            [] => None,
            other => panic!("{other:?}"),
        };
        assert_eq!(reason, expect, "{own:?} beside {others:?}");
    }
}

/// Bound: no false alarm at all in some ten million requests, where the test promises one in 10^9.
#[test]
fn equal_servers_are_left_alone_however_much_they_fail() {
    for seed in 0..256 {
        let failing = [1, 5, 10, 50, 100, 200, 400, 600, 950][seed as usize % 9];
        let rate = [300, 2000, 20_000][seed as usize % 3];
        let servers = vec![Server::new(rate, failing); 2 + seed as usize % 7];
        let ticks = 50_000_000 / rate / servers.len() as u64;
        let mut pool = Pool::new(OUTLIERS, servers, seed);
        let verdicts = pool.run(TICK * ticks.min(6000) as u32);
        assert_eq!(verdicts, [], "seed {seed}: {failing} of 1000 fail");
    }
}

#[test]
fn an_outage_of_all_speaks_against_none() {
    for seed in 0..256 {
        let mut pool = Pool::new(OUTLIERS, vec![Server::new(1500, 5); 4], seed);
        for failing in [1000, 5, 500, 5, 50, 900, 0] {
            let healthy = pool.run(Duration::from_secs(30));
            assert_eq!(healthy, [], "seed {seed}");
            pool.servers.iter_mut().for_each(|server| server.failing = failing);
        }
        // After a long one, the one that does not recover with the others is found at once.
        pool.servers.iter_mut().for_each(|server| server.failing = 1000);
        assert_eq!(pool.run(Duration::from_secs(300)), [], "seed {seed}");
        pool.servers.iter_mut().for_each(|server| server.failing = 0);
        pool.servers[2].failing = 1000;
        let found = pool.until_ejected(2).map(|(time, _)| time);
        assert!(found.is_some_and(|time| time < Duration::from_secs(5)), "seed {seed}: {found:?}");
    }
}

/// What it takes until a failing server among good ones is out.
#[test]
fn failing_servers_are_found_after_few_requests() {
    println!("servers | others fail | it fails | requests to it: median, most");
    for (servers, usual, failing, median, most) in [
        (2, 0, 1000, 10, 10),
        (3, 0, 1000, 8, 8),
        (10, 0, 1000, 8, 8),
        (10, 10, 1000, 8, 12),
        (3, 10, 500, 30, 80),
        (10, 10, 500, 20, 60),
        (3, 10, 200, 100, 500),
        (10, 10, 200, 70, 350),
    ] {
        let mut requests = Vec::new();
        for seed in 0..256 {
            let mut pool = Pool::new(OUTLIERS, vec![Server::new(1000, usual); servers], seed);
            pool.run(Duration::from_secs(20));
            let before = pool.servers[1].requests;
            pool.servers[1].failing = failing;
            let (_, reason) = pool.until_ejected(1).expect("it fails far more than the others");
            assert!(reason.contains("answers failed while the others fail"), "{reason}");
            requests.push(pool.servers[1].requests - before);
        }
        requests.sort_unstable();
        let (is_median, is_most) = (requests[128], requests[255]);
        println!("{servers:7} | {usual:9} ‰ | {failing:6} ‰ | {is_median}, {is_most}");
        assert!(is_median <= median && is_most <= most, "{servers}: {is_median}, {is_most}");
    }
}

#[test]
fn slow_servers_are_found_and_equally_slow_ones_left_alone() {
    for seed in 0..256 {
        let mut pool = Pool::new(OUTLIERS, vec![Server::new(2000, 0); 3], seed);
        for latency in [10, 2000, 100, 600] {
            let latency = Duration::from_millis(latency);
            pool.servers.iter_mut().for_each(|server| server.latency = latency);
            assert_eq!(pool.run(Duration::from_secs(30)), [], "seed {seed}: all {latency:?}");
        }
        pool.servers[0].latency = Duration::from_millis(1500);
        assert_eq!(pool.run(Duration::from_secs(30)), [], "seed {seed}: not far enough");
        pool.servers.iter_mut().for_each(|server| server.latency = Duration::from_millis(40));
        pool.servers[0].latency = Duration::from_millis(400);
        assert_eq!(pool.run(Duration::from_secs(30)), [], "seed {seed}: hardly noticed");
        pool.servers[0].latency = Duration::from_millis(2100);
        pool.servers[0].rate = 800;
        let (time, reason) = pool.until_ejected(0).expect("it is far slower");
        assert!(time <= Duration::from_secs(20), "seed {seed}: {time:?}");
        assert!(reason.starts_with("answers take ") && reason.ends_with(" ms"), "{reason}");
    }
}

/// Equal servers with answers of two kinds. A mean of times would blame whoever gives one of the
/// long ones; and when half are long, ten answers of each say little.
#[test]
fn mixed_answers_are_no_slow_server() {
    for seed in 0..256 {
        let mut random = Random::seeded(seed);
        let mut ejector = Ejector::new(OUTLIERS);
        let most = [1, 2, 5, 40][seed as usize % 4];
        let (one_in, short, long) = if seed < 128 { (30, 30, 30_000) } else { (2, 2, 20_000) };
        for tick in 1..2000 {
            let mut observe = |server| {
                let mut seen = nothing(server);
                seen.answers = random.below(most + 1);
                seen.requests = seen.answers;
                for _ in 0..seen.answers {
                    let took = if random.below(one_in) == 0 { long } else { short };
                    seen.log_latency += log_latency(Duration::from_millis(took));
                }
                seen
            };
            let observed = [observe(0), observe(1), observe(2)];
            assert_eq!(ejector.tick(TICK * tick, &observed, &mut random), [], "seed {seed}");
        }
    }
}

#[test]
fn a_flapping_server_is_out_for_longer_each_time_and_a_good_one_is_forgiven() {
    let settings = Settings { longest: Duration::from_secs(45), ..Settings::default() };
    for seed in 0..256 {
        let mut pool = Pool::new(settings, vec![Server::new(1000, 0); 3], seed);
        pool.servers[0].refusing = 1000;
        let mut last = Duration::ZERO;
        for times in 1..8 {
            pool.until_ejected(0).expect("it fails always");
            assert_eq!(pool.ejector.times(0), times);
            let until = pool.ejector.out_until(0).expect("it was ejected");
            let time = until - pool.now;
            let expect = Duration::from_secs(10 * u64::from(times)).min(settings.longest);
            assert!(time >= expect && time <= expect.mul_f64(1.1), "seed {seed}: {time:?}");
            assert!(time > last || times > 4, "seed {seed}: {time:?} after {last:?}");
            last = time;
            while pool.ejector.out_until(0).is_some() {
                pool.tick();
            }
        }
        pool.servers[0].refusing = 0;
        for times in (0..7).rev() {
            assert_eq!(pool.run(Duration::from_secs(10)), [], "seed {seed}");
            assert_eq!(pool.ejector.times(0), times, "seed {seed}");
        }
    }
}

#[test]
fn the_limit_holds_after_the_ejection_and_the_last_one_stays() {
    let ejected = |n: usize, bad: usize, at_most: u32| {
        let settings = Settings { at_most, ..Settings::default() };
        let mut servers = vec![Server::new(1000, 0); n];
        servers[..bad].iter_mut().for_each(|server| server.refusing = 1000);
        let mut pool = Pool::new(settings, servers, 1);
        let verdicts = pool.run(Duration::from_secs(5));
        let mut out = 0;
        let mut reasons = Vec::new();
        for verdict in verdicts {
            match verdict {
                Verdict::Eject { .. } => out += 1,
                Verdict::Prevented { why, .. } => reasons.push(why),
                Verdict::Return { .. } => panic!("{verdict:?}"),
            }
        }
        reasons.dedup();
        (out, reasons)
    };
    use Prevented::{AtMost, LastInUse, OthersToo};
    for (n, bad, at_most, expect) in [
        (1, 1, 500, (0, vec![LastInUse])),
        (1, 1, 1000, (0, vec![LastInUse])),
        (2, 1, 500, (1, vec![])),
        (2, 2, 500, (0, vec![OthersToo])),
        (3, 1, 500, (1, vec![])),
        (3, 2, 500, (1, vec![AtMost])),
        (3, 2, 1000, (2, vec![])),
        (3, 3, 1000, (0, vec![OthersToo])),
        (4, 3, 500, (2, vec![AtMost])),
        (10, 10, 1000, (0, vec![OthersToo])),
        (10, 3, 100, (1, vec![AtMost])),
        (9, 3, 100, (0, vec![AtMost])),
        (4, 1, 0, (0, vec![AtMost])),
    ] {
        assert_eq!(ejected(n, bad, at_most), expect, "{bad} of {n} bad, at most {at_most} ‰ out");
    }
}

#[test]
fn what_is_down_for_other_reasons_counts_for_the_last_one() {
    let mut servers = vec![Server::new(1000, 0); 3];
    servers[0].usable = false;
    servers[1].usable = false;
    servers[2].refusing = 1000;
    let mut pool = Pool::new(Settings::default(), servers, 1);
    let verdicts = pool.run(Duration::from_secs(60));
    let [Verdict::Prevented { server: 2, reason, why: Prevented::LastInUse }] = &verdicts[..]
    else {
        panic!("once, and nothing else: {verdicts:?}");
    };
    assert_eq!(reason, "5 gateway errors in a row");
    // Another comes up: now it can go.
    pool.servers[0].usable = true;
    let verdicts = pool.run(TICK);
    assert!(matches!(verdicts[..], [Verdict::Eject { server: 2, .. }]), "{verdicts:?}");
    // The other goes again: better a bad server than none.
    pool.servers[0].usable = false;
    let needed = Verdict::Return { server: 2, why: Returned::Needed };
    assert_eq!(pool.run(TICK), [needed]);
}

#[test]
fn what_prevented_an_ejection_is_said_again_only_after_the_reason_went_away() {
    let mut servers = vec![Server::new(1000, 0)];
    servers[0].refusing = 1000;
    let mut pool = Pool::new(Settings::default(), servers, 1);
    for _ in 0..3 {
        assert_eq!(pool.run(Duration::from_secs(20)).len(), 1);
        pool.servers[0].refusing = 0;
        assert_eq!(pool.run(Duration::from_secs(20)), []);
        pool.servers[0].refusing = 1000;
    }
}

#[test]
fn a_server_that_is_away_for_a_while_is_remembered() {
    let mut ejector = Ejector::new(Settings::default());
    let mut random = Random::seeded(1);
    let bad = Observation { requests: 5, gateway_errors: 5, consecutive: 5, ..nothing(0) };
    ejector.tick(TICK, &[bad, nothing(1), nothing(2)], &mut random);
    let until = ejector.out_until(0).expect("it was ejected");
    ejector.tick(TICK * 2, &[nothing(1), nothing(2)], &mut random);
    ejector.tick(TICK * 3, &[nothing(0), nothing(1), nothing(2)], &mut random);
    assert_eq!(ejector.out_until(0), Some(until));
    ejector.tick(Duration::from_secs(302), &[nothing(1), nothing(2)], &mut random);
    assert_eq!(ejector.out_until(0), None, "but not for ever");
}

/// Whatever is observed: at most so many are out, one is in use if any can be, and verdicts fit
/// together.
#[test]
fn any_observations() {
    let mut ejections = 0;
    for seed in 0..256 {
        let mut random = Random::seeded(seed);
        let mut below = |bound| random.below(bound);
        let mut settings = Settings {
            errors: below(8) as u32,
            outliers: below(4) > 0,
            base: Duration::from_millis(below(3000)),
            longest: Duration::from_millis(below(10_000)),
            at_most: below(1100) as u32,
        };
        let mut ejector = Ejector::new(settings);
        let mut now = Duration::ZERO;
        let mut out: BTreeMap<u32, Duration> = BTreeMap::new();
        let mut n = 1 + random.below(8) as u32;
        for step in 0..1000 {
            now += match random.below(50) {
                0 => Duration::from_secs(random.below(1000)),
                1 => Duration::ZERO,
                _ => TICK,
            };
            if random.below(50) == 0 {
                n = 1 + random.below(8) as u32;
                settings.at_most = random.below(1100) as u32;
                ejector.configure(settings);
            }
            let mut observed = Vec::new();
            for server in (0..8).filter(|server| (server + seed as u32) % 8 < n) {
                let most = if random.below(100) == 0 { u64::MAX } else { 50 };
                let requests = random.below(most);
                let bad = random.below(3) == 0;
                let share = |random: &mut Random| random.below(requests / if bad { 1 } else { 9 });
                observed.push(Observation {
                    server,
                    requests,
                    gateway_errors: share(&mut random),
                    server_errors: share(&mut random),
                    answers: requests,
                    log_latency: random.below(requests.saturating_mul(10_000)),
                    consecutive: random.below(if bad { 20 } else { 3 }) as u32,
                    usable: random.below(5) > 0,
                });
            }
            let context = format!("seed {seed}, step {step}");
            for verdict in ejector.tick(now, &observed, &mut random) {
                match verdict {
                    Verdict::Eject { server, until, reason } => {
                        ejections += 1;
                        let seen = observed.iter().find(|seen| seen.server == server);
                        assert!(seen.is_some_and(|seen| seen.usable), "{context}");
                        assert!(!reason.is_empty(), "{context}");
                        let longest = settings.longest.max(settings.base).mul_f64(1.1);
                        assert!(until >= now && until - now <= longest, "{context}: {until:?}");
                        assert_eq!(out.insert(server, until), None, "{context}: out already");
                    }
                    Verdict::Return { server, why } => {
                        let until = out.remove(&server).expect("only those return that are out");
                        assert_eq!(why == Returned::TimeOver, until <= now, "{context}: {why:?}");
                    }
                    Verdict::Prevented { server, .. } => {
                        assert!(!out.contains_key(&server), "{context}");
                    }
                }
            }
            let is_out = |seen: &&Observation<u32>| ejector.out_until(seen.server).is_some();
            let count = observed.iter().filter(is_out).count();
            let limit = observed.len() * settings.at_most.min(1000) as usize / 1000;
            assert!(count <= limit, "{context}: {count} of {} out", observed.len());
            let usable = observed.iter().filter(|seen| seen.usable).count();
            let in_use = observed.iter().filter(|seen| seen.usable && !is_out(seen)).count();
            assert_eq!(in_use > 0, usable > 0, "{context}: {usable} usable, none in use");
            // Those that are away may have been forgotten; those that are here are as was said.
            out.retain(|&server, until| {
                let is = ejector.out_until(server);
                let here = observed.iter().any(|seen| seen.server == server);
                assert!(is == Some(*until) || !here && is.is_none(), "{context}: {is:?}");
                is.is_some()
            });
        }
    }
    assert!(ejections > 10_000, "this was no test: {ejections} ejections");
}
