//! What holds of both databases.

use std::collections::BTreeMap;
use std::sync::Arc;

use seawall_testkit::Postgres;
use snip::clicks::agent::{Agent, Device};
use snip::clicks::detail::By;
use snip::clicks::event::{Click, Traits};
use snip::clicks::stats::{Stats, StatsQuery};
use snip::clicks::tally::{Part, Tally};
use snip::clicks::unit::{Keep, Unit};
use snip::instant::parse;
use snip::link::{Code, Millis};
use snip::store::{DatabaseConfig, Store};

use crate::store::block_on;

/// A place for a database: both kinds.
fn on_both(case: impl AsyncFn(DatabaseConfig)) {
    let home = tempfile::tempdir().expect("a directory");
    let file = DatabaseConfig::new(format!("sqlite:{}/snip.db", home.path().display()));
    let server = Postgres::start().expect("a server");
    let servers = DatabaseConfig::new(server.url());
    block_on(async {
        case(file).await;
        case(servers).await;
    });
}

pub(super) async fn open(config: &DatabaseConfig, clock: fn() -> Millis) -> Store {
    let store = Store::open(&DatabaseConfig { clock, ..config.clone() }).await.expect("it opens");
    store.keep_up(KEEP).await.expect("it is tidied up");
    store
}

const HOUR: Millis = 3_600_000;
const DAY: Millis = 24 * HOUR;

pub(super) const KEEP: Keep = Keep { minutes: 2 * DAY, hours: 90 * DAY, days: 5 * 365 * DAY };

pub(super) fn at(text: &str) -> Millis {
    parse(text).unwrap_or_else(|| panic!("not a time: {text}"))
}

/// A moment before the end of a month, and of a year.
pub(super) fn before_new_year() -> Millis {
    at("2026-12-31T23:59:30Z")
}

pub(super) fn click(code: &str, at: Millis, device: Device, visitor: u64) -> Click {
    let traits = Traits {
        referrer: Some("news.example".into()),
        country: None,
        agent: Agent { device, name: "Chrome" },
    };
    // As good as random (SplitMix64).
    let mut hash = visitor.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    Click { code: Code::new(code).expect("a code"), at, traits, visitor: Some(hash ^ hash >> 31) }
}

pub(super) fn part(id: &str, clicks: impl IntoIterator<Item = Click>) -> Part {
    let mut tally = Tally::default();
    clicks.into_iter().for_each(|click| tally.add(click));
    Part { id: id.into(), until: Millis::MAX, settled: None, tally }
}

pub(super) async fn count(store: &Store, parts: Vec<Part>) -> Vec<bool> {
    store.count(parts.into(), KEEP).await.expect("it is counted")
}

pub(super) async fn ask(store: &Store, code: &str, unit: Unit, from: &str, to: &str) -> Stats {
    let code = (!code.is_empty()).then(|| Code::new(code).expect("a code"));
    let query = StatsQuery { code, unit, from: at(from), to: at(to) };
    store.stats(&query).await.expect("it answers")
}

fn sums(stats: &Stats) -> (i64, i64) {
    stats.series.iter().fold((0, 0), |sum, point| (sum.0 + point.clicks, sum.1 + point.bots))
}

#[test]
fn a_part_is_counted_once() {
    on_both(async |config| {
        let stores = [open(&config, before_new_year).await, open(&config, before_new_year).await];
        let now = before_new_year();
        let one = || part("one", [click("a", now, Device::Mobile, 1)]);
        let two =
            || part("two", [click("a", now, Device::Bot, 2), click("b", now, Device::Mobile, 2)]);
        assert_eq!(count(&stores[0], vec![one(), one()]).await, [true, false]);
        assert_eq!(count(&stores[1], vec![one()]).await, [false]);
        assert_eq!(count(&stores[1], vec![two(), one()]).await, [true, false]);
        let settled = Part { settled: Some("two".into()), ..part("three", []) };
        assert_eq!(count(&stores[0], vec![settled]).await, [true]);
        assert_eq!(count(&stores[0], vec![two()]).await, [true], "nobody was to bring it again");
        assert!(count(&stores[0], vec![]).await.is_empty());
        for unit in Unit::ALL {
            let (from, to) = ("2026-12-31T00:00:00Z", "2027-01-01T00:00:00Z");
            for (code, expect) in [("a", (1, 2)), ("b", (2, 0)), ("", (3, 2)), ("c", (0, 0))] {
                let stats = ask(&stores[1], code, unit, from, to).await;
                assert_eq!(sums(&stats), expect, "{code} by {unit:?}");
            }
        }
    });
}

#[test]
fn clicks_at_a_border_are_where_they_belong() {
    on_both(async |config| {
        let store = open(&config, before_new_year).await;
        let moments = [
            "2026-12-30T23:59:59.999Z",
            "2026-12-31T00:00:00.000Z",
            "2026-12-31T23:58:59.999Z",
            "2026-12-31T23:59:59.999Z",
            "2027-01-01T00:00:00.000Z",
            "2027-01-01T00:00:00.001Z",
            // The clock goes back.
            "2026-12-31T23:59:59.000Z",
        ];
        for (number, moment) in moments.iter().enumerate() {
            let clicks = [click("a", at(moment), Device::Desktop, number as u64)];
            assert_eq!(count(&store, vec![part(&number.to_string(), clicks)]).await, [true]);
        }
        let series = async |unit, from, to| -> Vec<(Millis, i64)> {
            let stats = ask(&store, "a", unit, from, to).await;
            stats.series.iter().map(|point| (point.at, point.clicks)).collect()
        };
        let minutes = series(Unit::Minute, "2026-12-31T00:00:00Z", "2027-01-01T00:01:00Z").await;
        let expect = [
            (at("2026-12-31T00:00:00Z"), 1),
            (at("2026-12-31T23:58:00Z"), 1),
            (at("2026-12-31T23:59:00Z"), 2),
            (at("2027-01-01T00:00:00Z"), 2),
        ];
        assert_eq!(minutes, expect);
        let hours = series(Unit::Hour, "2026-12-31T23:00:00Z", "2027-01-01T01:00:00Z").await;
        assert_eq!(hours, [(at("2026-12-31T23:00:00Z"), 3), (at("2027-01-01T00:00:00Z"), 2)]);
        let days = series(Unit::Day, "2026-12-30T00:00:00Z", "2027-01-02T00:00:00Z").await;
        let day = |text: &str| at(&format!("{text}T00:00:00Z"));
        assert_eq!(days, [(day("2026-12-30"), 1), (day("2026-12-31"), 4), (day("2027-01-01"), 2)]);
        let whole =
            ask(&store, "a", Unit::Day, "2026-12-30T00:00:00Z", "2027-01-02T00:00:00Z").await;
        let visitors: Vec<u64> = whole.days.iter().map(|day| day.visitors).collect();
        assert_eq!((visitors, whole.detail.clicks()), (vec![1, 4, 2], 7));
        // Half an hour has what is told apart of its whole day.
        let half =
            ask(&store, "a", Unit::Minute, "2026-12-31T12:00:00Z", "2026-12-31T12:30:00Z").await;
        assert_eq!((half.series, half.detail.clicks()), (vec![], 4));
    });
}

/// What is stored against a list of all clicks: whatever comes in whatever parts, once or twice,
/// each range of each unit has the clicks that were in it.
#[test]
fn rollups_are_sums_of_clicks() {
    on_both(async |config| {
        let stores = [open(&config, before_new_year).await, open(&config, before_new_year).await];
        let mut clicks: Vec<(&str, Millis, bool)> = Vec::new();
        let mut random = fastrand::Rng::with_seed(7);
        for number in 0..60 {
            let some: Vec<_> = (0..random.usize(0..30))
                .map(|_| {
                    // The minutes of two days are kept, and so are those that are yet to come.
                    let moment = before_new_year() + random.i64(-40 * HOUR..HOUR);
                    let device =
                        *random.choice(&[Device::Mobile, Device::Desktop, Device::Bot]).expect("3");
                    (*random.choice(&["a", "b", "c"]).expect("3"), moment, device)
                })
                .collect();
            let part = || {
                let clicks = some.iter().map(|(code, at, device)| click(code, *at, *device, 1));
                part(&number.to_string(), clicks)
            };
            let times = random.usize(1..3);
            let counted = count(&stores[number % 2], (0..times).map(|_| part()).collect()).await;
            assert!(counted[0], "{number}");
            if random.bool() {
                assert_eq!(count(&stores[(number + 1) % 2], vec![part()]).await, [false]);
            }
            clicks.extend(some.iter().map(|(code, at, it)| (*code, *at, *it == Device::Bot)));
        }
        for turn in 0..200 {
            let unit = Unit::ALL[turn % Unit::ALL.len()];
            let code = random.choice(["a", "b", "c", ""]).expect("4");
            let mut edge = || unit.floor(before_new_year() + random.i64(-44 * HOUR..3 * HOUR));
            let (one, other) = (edge(), edge());
            let (from, to) = (one.min(other), one.max(other));
            let mut expect: BTreeMap<Millis, (i64, i64)> = BTreeMap::new();
            for (_, at, is_bot) in clicks.iter().filter(|(of, at, _)| {
                (code.is_empty() || *of == code) && (from..to).contains(&unit.floor(*at))
            }) {
                let sums = expect.entry(unit.floor(*at)).or_default();
                sums.0 += i64::from(!*is_bot);
                sums.1 += i64::from(*is_bot);
            }
            let of = (!code.is_empty()).then(|| Code::new(code).expect("a code"));
            let query = StatsQuery { code: of, unit, from, to };
            let stats = stores[turn % 2].stats(&query).await.expect("it answers");
            let found: Vec<_> =
                stats.series.iter().map(|point| (point.at, (point.clicks, point.bots))).collect();
            assert_eq!(found, expect.into_iter().collect::<Vec<_>>(), "{query:?}");
        }
    });
}

#[test]
fn clicks_of_many_links_are_read_together_and_the_most_clicked_are_known() {
    on_both(async |config| {
        let store = open(&config, before_new_year).await;
        let (first, second) = (at("2026-12-30T12:00:00Z"), before_new_year());
        let clicks = |code, at, count| (0..count).map(move |_| click(code, at, Device::Mobile, 1));
        let bot = click("b", first, Device::Bot, 1);
        count(
            &store,
            vec![part("1", clicks("a", first, 2).chain(clicks("b", first, 9)).chain([bot]))],
        )
        .await;
        count(&store, vec![part("2", clicks("a", second, 3).chain(clicks("c", second, 1)))]).await;
        let code = |name| Code::new(name).expect("a code");
        let since =
            [("b", first), ("a", first), ("a", second), ("c", second), ("d", Millis::MIN / 2)];
        // A link from which day on is the matter of the link.
        let since: Vec<_> = since.map(|(name, at)| (code(name), at.max(first - 60 * DAY))).into();
        let found = store.clicks_since(&since, second + 1).await;
        assert_eq!(found, Ok(vec![9, 5, 3, 1, 0]));
        assert_eq!(store.clicks_since(&since, second - DAY).await, Ok(vec![9, 2, 0, 0, 0]));
        assert_eq!(store.clicks_since(&[], second).await, Ok(vec![]));
        let all = ask(&store, "", Unit::Hour, "2026-12-30T00:00:00Z", "2027-01-01T00:00:00Z").await;
        assert_eq!(all.detail.leaders().first(2), ["b", "a"]);
        assert_eq!(all.detail.leaders().counts().len(), 3);
        let one = ask(&store, "a", Unit::Day, "2026-12-30T00:00:00Z", "2027-01-01T00:00:00Z").await;
        assert!(one.detail.leaders().is_empty(), "it leads itself");
    });
}

#[test]
fn instances_that_count_the_same_link_at_once_count_all() {
    const ROUNDS: u64 = 20;
    on_both(async |config| {
        let mut tasks = Vec::new();
        for instance in 0..4_u64 {
            let store = open(&config, before_new_year).await;
            tasks.push(tokio::spawn(async move {
                for round in 0..ROUNDS {
                    let first = (instance * ROUNDS + round) * 50;
                    let clicks = (first..first + 50).map(|visitor| {
                        let code = ["viral", "a", "b"][visitor as usize % 3];
                        click(code, before_new_year(), Device::Mobile, visitor)
                    });
                    let parts = vec![part(&format!("{instance}-{round}"), clicks)];
                    assert_eq!(count(&store, parts).await, [true]);
                }
            }));
        }
        for task in tasks {
            task.await.expect("no panic");
        }
        let store = open(&config, before_new_year).await;
        let all = 4 * ROUNDS * 50;
        let stats =
            ask(&store, "", Unit::Day, "2026-12-31T00:00:00Z", "2027-01-01T00:00:00Z").await;
        assert_eq!(sums(&stats), (all as i64, 0));
        assert_eq!(stats.detail.by(By::Referrer), [("news.example".into(), all)]);
        let error = stats.days[0].visitors as f64 / all as f64 - 1.0;
        assert!(error.abs() < 0.1, "{error}");
        let mut each = 0;
        for code in ["viral", "a", "b"] {
            let (from, to) = ("2026-12-31T23:00:00Z", "2027-01-01T00:00:00Z");
            each += sums(&ask(&store, code, Unit::Minute, from, to).await).0;
        }
        assert_eq!(each, all as i64);
    });
}

#[test]
fn what_is_over_is_dropped_and_what_comes_next_is_there() {
    on_both(async |config| {
        let early = open(&config, before_new_year).await;
        let clicks = [click("a", before_new_year(), Device::Mobile, 1)];
        count(&early, vec![part("one", clicks)]).await;
        let again = early.keep_up(KEEP).await.expect("it is tidied up");
        assert_eq!((again.made, again.dropped), (0, 0), "it was done before");

        let found = async |store: &Store| {
            let mut found = Vec::new();
            for unit in Unit::ALL {
                let from = ["2026-12-31T00:00:00Z", "2026-12-01T00:00:00Z", "2026-01-01T00:00:00Z"];
                let from = from[unit as usize];
                let stats = ask(store, "a", unit, from, "2027-01-01T00:00:00Z").await;
                found.push(sums(&stats).0);
            }
            found
        };
        let on_time = open(&config, || at("2027-01-02T12:00:00Z")).await;
        assert_eq!(found(&on_time).await, [1, 1, 1]);
        let late = open(&config, || at("2027-01-03T12:00:00Z")).await;
        assert_eq!(found(&late).await, [0, 1, 1]);
        let later = open(&config, || at("2027-05-03T12:00:00Z")).await;
        assert_eq!(found(&later).await, [0, 0, 1]);
        let last = open(&config, || at("2032-12-31T12:00:00Z")).await;
        assert_eq!(found(&last).await, [0, 0, 0]);
        // What comes when its table is gone is passed over, and makes none.
        let clicks = [click("a", before_new_year(), Device::Mobile, 1)];
        assert_eq!(count(&last, vec![part("two", clicks)]).await, [true]);
        assert_eq!(found(&last).await, [0, 0, 0]);
        let tidied = last.keep_up(KEEP).await.expect("it is tidied up");
        assert_eq!((tidied.made, tidied.dropped), (0, 0));
    });
}

#[test]
fn salts_are_shared_and_deleted() {
    on_both(async |config| {
        let one = open(&config, before_new_year).await;
        let other = open(&config, before_new_year).await;
        let day = Unit::Day.floor(before_new_year());
        let salt = one.salt(day).await.expect("a salt");
        let next = one.salt(day + DAY).await.expect("a salt");
        assert_eq!(other.salt(day).await.expect("a salt"), salt);
        assert_ne!(salt, next);
        let at_once = (0..20).map(|number| {
            let store = [&one, &other][number % 2].clone();
            tokio::spawn(async move { store.salt(day + 2 * DAY).await.expect("a salt") })
        });
        let mut salts = Vec::new();
        for task in at_once.collect::<Vec<_>>() {
            salts.push(task.await.expect("no panic"));
        }
        assert!(salts.windows(2).all(|pair| pair[0] == pair[1]));
        // It is there as long as the day after lasts.
        let late = open(&config, || at("2027-01-01T23:59:59Z")).await;
        assert_eq!(late.salt(day).await.expect("a salt"), salt);
        let later = open(&config, || at("2027-01-02T00:00:00Z")).await;
        assert_ne!(later.salt(day).await.expect("a salt"), salt, "another one: it was deleted");
        assert_eq!(later.salt(day + DAY).await.expect("a salt"), next);
    });
}

#[test]
fn parts_are_forgotten_when_they_may_be() {
    on_both(async |config| {
        let store = open(&config, before_new_year).await;
        let now = before_new_year();
        let short = Part { until: now + 1_000, ..part("short", []) };
        let long = Part { until: now + DAY, ..part("long", []) };
        assert_eq!(count(&store, vec![short.clone(), long.clone()]).await, [true, true]);
        let later = open(&config, || before_new_year() + 2_000).await;
        assert_eq!(count(&later, vec![short, long]).await, [true, false]);
    });
}

#[test]
fn many_keys_are_counted() {
    on_both(async |config| {
        let store = open(&config, before_new_year).await;
        let mut tally = Tally::default();
        for number in 0..30_000_u64 {
            let code = format!("c{number}");
            tally.add(click(&code, before_new_year(), Device::Mobile, number));
        }
        for (number, tally) in tally.split(8_192).into_iter().enumerate() {
            let part = Part { tally, ..part(&number.to_string(), []) };
            let parts: Arc<[Part]> = Arc::new([part]);
            // Sent again, as after an answer that was lost.
            assert_eq!(store.count(parts.clone(), KEEP).await.expect("it is counted"), [true]);
            assert_eq!(store.count(parts, KEEP).await.expect("it is counted"), [false]);
        }
        let (from, to) = ("2026-12-31T00:00:00Z", "2027-01-01T00:00:00Z");
        let all = ask(&store, "", Unit::Hour, from, to).await;
        assert_eq!(sums(&all), (30_000, 0));
        assert_eq!(sums(&ask(&store, "c29999", Unit::Day, from, to).await), (1, 0));
    });
}
