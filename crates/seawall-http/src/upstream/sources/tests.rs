//! What becomes of servers when plans, files, orders and answers change.

use super::super::Standing;
use std::sync::Arc;

use tokio::time::Instant;

use super::*;

const MINUTE: u64 = 60 * 1000;

struct Story {
    upstream: Upstream,
    metrics: Metrics,
    /// In milliseconds.
    now: u64,
}

impl Story {
    fn new() -> Story {
        let metrics = Metrics::new(1, vec![]);
        let upstream = Upstream::new("app".into(), Instant::now(), Arc::default(), &metrics);
        Story { upstream, metrics, now: 500 }
    }

    fn configure(&self, servers: &[ServerSpec]) -> Change {
        self.upstream.set_configured(servers, None, self.now, &self.metrics)
    }

    fn answer(&self, name: &str, addresses: &[&str]) -> Change {
        let addresses = addresses.iter().map(|text| text.parse().expect("an address")).collect();
        let question = Question::Addresses(name.into());
        self.upstream.set_answer(&question, &Answer::Addresses(addresses), self.now, &self.metrics)
    }

    fn targets(&self, targets: &[(u8, &str, u32)]) -> Change {
        let target = |(level, address, weight): &(u8, &str, u32)| Target {
            level: *level,
            address: socket(address),
            weight: *weight,
        };
        let answer = Answer::Targets(targets.iter().map(target).collect());
        let question = Question::Service("_http._tcp.app".into());
        self.upstream.set_answer(&question, &answer, self.now, &self.metrics)
    }

    fn servers(&self) -> Vec<String> {
        let endpoints = self.upstream.endpoints();
        let shown = |endpoint: &Endpoint| {
            let mut text = endpoint.server.label.clone();
            if endpoint.weight != 1 {
                text += &format!(" weight {}", endpoint.weight);
            }
            if endpoint.priority != 0 {
                text += &format!(" priority {}", endpoint.priority);
            }
            text
        };
        endpoints.iter().map(shown).collect()
    }

    fn state(&self, label: &str) -> Arc<ServerState> {
        let endpoints = self.upstream.endpoints();
        let found = endpoints.iter().find(|endpoint| endpoint.server.label == label);
        found.expect("it is there").server.clone()
    }

    /// Whether the metrics still name a server.
    fn is_counted(&self, label: &str) -> bool {
        self.metrics.expose().contains(&format!("server=\"{label}\""))
    }
}

fn socket(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn at(text: &str) -> ServerSpec {
    ServerSpec::new(ServerAddress::Socket(socket(text)))
}

fn named(name: &str) -> ServerSpec {
    ServerSpec::new(ServerAddress::Name { host: name.into(), port: 80 })
}

fn service() -> ServerSpec {
    ServerSpec::new(ServerAddress::Service("_http._tcp.app".into()))
}

#[test]
fn servers_keep_their_state_while_names_and_plans_change() {
    let story = Story::new();
    story.configure(&[at("127.0.0.1:1"), named("app")]);
    assert_eq!(story.servers(), ["127.0.0.1:1"]);
    story.state("127.0.0.1:1").in_flight.store(7, Relaxed);

    let change = story.answer("app", &["10.0.0.1", "10.0.0.2"]);
    assert_eq!(change.added, ["10.0.0.1:80", "10.0.0.2:80"]);
    let generation = story.upstream.generation();
    assert!(story.answer("app", &["10.0.0.1", "10.0.0.2"]).is_empty());
    assert_eq!(story.upstream.generation(), generation, "nothing changed");
    assert_eq!(story.servers(), ["127.0.0.1:1", "10.0.0.1:80", "10.0.0.2:80"]);
    assert_eq!(story.state("127.0.0.1:1").in_flight.load(Relaxed), 7);

    assert_eq!(story.configure(&[named("app")]).removed, ["127.0.0.1:1"]);
    assert!(story.upstream.generation() > generation);
    assert_eq!(story.servers(), ["10.0.0.1:80", "10.0.0.2:80"]);
}

#[test]
fn every_source_has_its_place() {
    let story = Story::new();
    let (upstream, metrics, now) = (&story.upstream, &story.metrics, story.now);
    let set = |servers: &[ServerSpec], file: Option<Option<&[ServerSpec]>>| {
        upstream.set_configured(servers, file, now, metrics)
    };
    set(&[at("127.0.0.1:1")], None);
    assert_eq!((upstream.origin(), story.servers()), (Origin::Config, vec!["127.0.0.1:1".into()]));
    // The file comes on top; the first who names a server says what it weighs.
    let heavy = ServerSpec { weight: 9, ..at("127.0.0.1:1") };
    set(&[at("127.0.0.1:1")], Some(Some(&[heavy.clone(), at("127.0.0.1:2")])));
    assert_eq!(upstream.origin(), Origin::ConfigAndFile);
    assert_eq!(story.servers(), ["127.0.0.1:1", "127.0.0.1:2"]);
    // A file that cannot be read leaves the last good one in place.
    set(&[], Some(None));
    assert_eq!(upstream.origin(), Origin::File);
    assert_eq!(story.servers(), ["127.0.0.1:1 weight 9", "127.0.0.1:2"]);
    // Those of the admin API take the place of both, through reloads and changes of the file.
    let change = upstream.set_replaced(Some(&[at("127.0.0.1:3"), at("127.0.0.1:2")]), now, metrics);
    assert_eq!(
        (&change.added[..], &change.removed[..]),
        (&["127.0.0.1:3".into()][..], &["127.0.0.1:1".into()][..])
    );
    assert_eq!(upstream.origin(), Origin::Api);
    assert!(set(&[at("127.0.0.1:4")], None).is_empty());
    assert!(upstream.set_file(&[at("127.0.0.1:5")], now, metrics).is_empty());
    assert_eq!(story.servers(), ["127.0.0.1:3", "127.0.0.1:2"]);
    assert_eq!(upstream.own(), [at("127.0.0.1:4"), at("127.0.0.1:5")]);
    upstream.set_replaced(None, now, metrics);
    assert_eq!(story.servers(), ["127.0.0.1:4", "127.0.0.1:5"]);
    // A plan without a file has none.
    set(&[at("127.0.0.1:4")], None);
    assert_eq!((upstream.origin(), story.servers()), (Origin::Config, vec!["127.0.0.1:4".into()]));
}

#[test]
fn nothing_leaves_an_upstream_without_servers() {
    let story = Story::new();
    story.configure(&[named("app")]);
    assert_eq!(story.servers(), [""; 0], "there have never been any");
    story.answer("app", &["10.0.0.1"]);
    assert_eq!(story.servers(), ["10.0.0.1:80"]);
    // An answer without addresses should never come here; if it does, it changes nothing.
    let change = story.answer("app", &[]);
    assert!(change.stranded && change.is_empty());
    assert_eq!(story.servers(), ["10.0.0.1:80"]);
    assert!(story.upstream.is_stranded());
    // Names of a new plan that do not resolve yet.
    assert!(!story.configure(&[named("other")]).stranded, "it is told once");
    assert_eq!(story.servers(), ["10.0.0.1:80"]);
    let change = story.answer("other", &["10.0.0.2"]);
    assert_eq!(
        (change.added, change.removed),
        (vec!["10.0.0.2:80".into()], vec!["10.0.0.1:80".into()])
    );
    assert!(!story.upstream.is_stranded());
    // Only a file, which is not there.
    let change = story.upstream.set_configured(&[], Some(None), story.now, &story.metrics);
    assert!(change.stranded);
    assert_eq!(story.servers(), ["10.0.0.2:80"]);
}

#[test]
fn who_returns_within_ten_minutes_is_known() {
    let mut story = Story::new();
    story.configure(&[named("app")]);
    story.answer("app", &["10.0.0.1", "10.0.0.2"]);
    let before = story.state("10.0.0.1:80");
    before.failing.store(true, Relaxed);
    assert_eq!(before.since.load(Relaxed), 0, "there is nothing to ramp up from");

    story.now += MINUTE;
    assert_eq!(story.answer("app", &["10.0.0.2"]).removed, ["10.0.0.1:80"]);
    story.now += 10 * MINUTE - 1;
    story.upstream.tidy(story.now, &story.metrics);
    assert!(story.is_counted("10.0.0.1:80"));
    assert_eq!(story.answer("app", &["10.0.0.1", "10.0.0.2"]).added, ["10.0.0.1:80"]);
    let after = story.state("10.0.0.1:80");
    assert!(Arc::ptr_eq(&before, &after));
    assert_eq!(after.standing(story.now), Standing::Failing);
    assert_eq!(after.since.load(Relaxed), story.now, "it has returned now");

    // Whoever stays away longer is not, and is not counted any more either.
    story.answer("app", &["10.0.0.2"]);
    story.now += 10 * MINUTE;
    story.upstream.tidy(story.now, &story.metrics);
    assert!(!story.is_counted("10.0.0.1:80") && story.is_counted("10.0.0.2:80"));
    story.answer("app", &["10.0.0.1", "10.0.0.2"]);
    assert!(!Arc::ptr_eq(&before, &story.state("10.0.0.1:80")));
    assert!(story.is_counted("10.0.0.1:80"));
}

#[test]
fn who_goes_with_requests_in_flight_is_not_forgotten() {
    let mut story = Story::new();
    story.configure(&[at("127.0.0.1:1"), at("127.0.0.1:2")]);
    let gone = story.state("127.0.0.1:1");
    gone.in_flight.store(3, Relaxed);
    story.configure(&[at("127.0.0.1:2")]);
    story.now += 60 * MINUTE;
    story.upstream.tidy(story.now, &story.metrics);
    let departed = story.upstream.departed(story.now);
    let shown: Vec<_> =
        departed.iter().map(|d| (d.address.port(), d.in_flight, d.for_millis)).collect();
    assert_eq!(shown, [(1, 3, 60 * MINUTE)]);
    assert!(story.is_counted("127.0.0.1:1") && story.upstream.labels().contains("127.0.0.1:1"));
    gone.in_flight.store(0, Relaxed);
    assert!(story.upstream.departed(story.now).is_empty());
    story.upstream.tidy(story.now, &story.metrics);
    assert!(!story.is_counted("127.0.0.1:1") && !story.upstream.labels().contains("127.0.0.1:1"));
}

#[test]
fn the_memory_of_those_who_have_gone_is_bounded() {
    let mut story = Story::new();
    let address = |n: usize| format!("10.{}.{}.1:80", n / 256, n % 256);
    story.configure(&[at("127.0.0.1:1"), at(&address(0))]);
    let all = MOST_DEPARTED + 50;
    for n in 1..=all {
        story.now += 1;
        story.configure(&[at("127.0.0.1:1"), at(&address(n))]);
    }
    let labels = story.upstream.labels();
    assert_eq!(labels.len(), 2 + MOST_DEPARTED);
    assert!(!labels.contains(&address(all - MOST_DEPARTED - 1)), "the first to go");
    assert!(labels.contains(&address(all - MOST_DEPARTED)));
    assert!(!story.is_counted(&address(0)) && story.is_counted(&address(all - 1)));
}

#[test]
fn new_servers_beside_others_begin_slowly() {
    let mut story = Story::new();
    story.configure(&[named("app")]);
    story.answer("app", &["10.0.0.1"]);
    story.now += 1000;
    story.answer("app", &["10.0.0.1", "10.0.0.2"]);
    let since = |label: &str| story.state(label).since.load(Relaxed);
    assert_eq!((since("10.0.0.1:80"), since("10.0.0.2:80")), (0, 1500));
}

#[test]
fn services_give_ports_weights_and_levels() {
    let story = Story::new();
    let backup = ServerSpec { priority: 1, weight: 3, zone: Some("a".into()), ..service() };
    story.configure(&[at("10.0.0.1:80"), backup]);
    story.targets(&[
        (0, "10.0.0.1:80", 5),
        (0, "10.0.0.2:81", 5),
        (1, "10.0.0.3:82", 500),
        (200, "10.0.0.4:83", 1),
    ]);
    assert_eq!(
        story.servers(),
        [
            "10.0.0.1:80",
            "10.0.0.2:81 weight 15 priority 1",
            "10.0.0.3:82 weight 1000 priority 2",
            "10.0.0.4:83 weight 3 priority 15",
        ]
    );
    assert_eq!(story.upstream.endpoints()[1].zone.as_deref(), Some("a"));
    let change = story.targets(&[(0, "10.0.0.2:81", 4)]);
    assert_eq!(change.altered, ["10.0.0.2:81"]);
    assert_eq!(change.removed, ["10.0.0.3:82", "10.0.0.4:83"]);
}

#[test]
fn orders_hold_until_they_are_taken_back() {
    let mut story = Story::new();
    let (one, two) = (at("127.0.0.1:1"), at("127.0.0.1:2"));
    story.configure(&[one.clone(), two.clone()]);
    let order = |story: &Story, address: &str, order| {
        story.upstream.order(socket(address), order, story.now)
    };
    assert_eq!(order(&story, "127.0.0.1:3", Order::Drain), None);
    let standings = story.upstream.standings();
    assert_eq!(order(&story, "127.0.0.1:1", Order::Drain), Some(true));
    assert!(story.upstream.standings() > standings, "workers are told");
    assert_eq!(story.state("127.0.0.1:1").order(), Order::Drain);

    // It goes for so long that nothing else is known of it, and returns.
    story.configure(std::slice::from_ref(&two));
    story.now += 60 * MINUTE;
    story.upstream.tidy(story.now, &story.metrics);
    story.configure(&[one.clone(), two.clone()]);
    assert_eq!(story.state("127.0.0.1:1").order(), Order::Drain);

    // It is taken back while the server is away.
    story.configure(std::slice::from_ref(&two));
    assert_eq!(order(&story, "127.0.0.1:1", Order::Use), Some(true));
    assert_eq!(order(&story, "127.0.0.1:1", Order::Use), None, "now nothing is known of it");
    story.configure(&[one, two]);
    assert_eq!(story.state("127.0.0.1:1").order(), Order::Use);
}

#[test]
fn there_is_a_limit_to_servers() {
    let story = Story::new();
    let names: Vec<ServerSpec> = (0..11).map(|n| named(&format!("app{n}"))).collect();
    story.configure(&names);
    let mut dropped = 0;
    for n in 0..11 {
        let addresses: Vec<IpAddr> =
            (0..1000u16).map(|i| [10, n, (i >> 8) as u8, i as u8].into()).collect();
        let question = Question::Addresses(format!("app{n}").into());
        let answer = Answer::Addresses(addresses);
        let change = story.upstream.set_answer(&question, &answer, story.now, &story.metrics);
        dropped = change.dropped;
    }
    assert_eq!((story.servers().len(), dropped), (MOST_SERVERS, 1000));
}

#[test]
fn answers_to_what_nobody_asks_are_forgotten() {
    let story = Story::new();
    // Before servers are put in place their names are looked up.
    story.answer("app", &["10.0.0.1"]);
    story.configure(&[named("app")]);
    assert_eq!(story.servers(), ["10.0.0.1:80"]);
    story.upstream.set_trouble(&Question::Addresses("app".into()), &"a reason".into());
    let names = story.upstream.names();
    let expect = NameStatus { name: "app".into(), addresses: 1, trouble: Some("a reason".into()) };
    assert_eq!(names, [expect]);
    story.configure(&[at("127.0.0.1:1")]);
    assert!(story.upstream.names().is_empty() && story.upstream.sources().names.is_empty());
}
