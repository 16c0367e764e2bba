//! What a click costs: on the way of a redirect, and when 100,000 counters are written down, to a
//! file and to a PostgreSQL server that flushes to the disk. Prints a line for each.
//!
//! `cargo bench -p snip --bench clicks`

use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use seawall_testkit::Postgres;
use snip::clicks::Clicks;
use snip::clicks::agent::{Agent, Device};
use snip::clicks::event::{Click, Origin, Traits};
use snip::clicks::tally::{Part, Rows, Tally};
use snip::clicks::unit::{Keep, Unit};
use snip::config::Config;
use snip::link::{Code, Millis};
use snip::store::{DatabaseConfig, Store, system_clock};
use tokio::sync::watch;

const DAY: Millis = 86_400_000;
const KEEP: Keep = Keep { minutes: 2 * DAY, hours: 90 * DAY, days: 1825 * DAY };

/// Counters of a flush, and how many of them go into one transaction, as in the program.
const COUNTERS: u32 = 100_000;
const MOST_AT_ONCE: usize = 8_192;

const AGENTS: [&str; 3] = [
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
];

fn main() {
    let home = tempfile::tempdir().expect("a directory");
    let file = |name: &str| format!("sqlite:{}", home.path().join(name).display());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        record(&open(&file("record.db")).await).await;
        flush("SQLite", &open(&file("flush.db")).await).await;
        surge("SQLite", &open(&file("surge.db")).await).await;
        let server = Postgres::with(&[]).expect("a server");
        flush("PostgreSQL", &open(&server.url()).await).await;
        surge("PostgreSQL", &open(&server.url()).await).await;
    });
}

async fn open(url: &str) -> Store {
    let store = Store::open(&DatabaseConfig::new(url)).await.expect("it opens");
    store.keep_up(KEEP).await.expect("it is tidied up");
    store
}

/// Clicks on links of a few sizes, until a million of them.
async fn record(store: &Store) {
    const CLICKS: u32 = 1_000_000;
    for links in [1, 1_000, 100_000] {
        let mut config = Config::default();
        config.clicks.most = 10_000_000;
        let (_drain, draining) = watch::channel(false);
        let clicks = Clicks::open(&config, store.clone(), draining).await.expect("it opens");
        let codes: Vec<String> = (0..links).map(|number| format!("c{number:06}")).collect();
        let mut random = fastrand::Rng::with_seed(1);
        let mut took = Duration::ZERO;
        for _ in 0..CLICKS / 1_000 {
            let some: Vec<_> = (0..1_000)
                .map(|_| {
                    let client = IpAddr::from(random.u32(..1 << 20).to_be_bytes());
                    (&codes[random.usize(..codes.len())], client, AGENTS[random.usize(..3)])
                })
                .collect();
            let began = Instant::now();
            for (code, client, agent) in some {
                let referrer = b"https://news.example/story?id=1";
                let agent = agent.as_bytes();
                clicks.record(code, client, Origin { referrer, agent, is_private: false });
            }
            took += began.elapsed();
        }
        black_box(clicks.buffer().take());
        let each = took.as_nanos() / u128::from(CLICKS);
        println!("a click on one of {links} links: {each} ns");
    }
}

async fn flush(name: &str, store: &Store) {
    let now = system_clock();
    // Twice: rows that are new, and rows that are there.
    for round in ["new", "known"] {
        let mut tally = Tally::default();
        for number in 0..COUNTERS {
            let traits = Traits {
                referrer: Some("news.example".into()),
                country: None,
                agent: Agent { device: Device::Mobile, name: "Chrome" },
            };
            let code = Code::new(&format!("c{number:06}")).expect("a code");
            let visitor = Some(u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            tally.add(Click { code, at: now, traits, visitor });
        }
        let began = Instant::now();
        black_box(Rows::of([&tally], |unit| KEEP.cutoff(unit, now)));
        println!("{name}: 100,000 {round} counters made into rows: {:?}", began.elapsed());
        let pieces = tally.split(MOST_AT_ONCE);
        let (began, mut longest) = (Instant::now(), Duration::ZERO);
        for (number, tally) in pieces.into_iter().enumerate() {
            let id = format!("{round}-{number}").into();
            let part = Part { id, until: now + Unit::Day.millis(), settled: None, tally };
            let began = Instant::now();
            store.count(Arc::new([part]), KEEP).await.expect("it is counted");
            longest = longest.max(began.elapsed());
        }
        let took = began.elapsed();
        println!("{name}: written: {took:?}, the longest transaction {longest:?}");
    }
}

/// Seconds of a surge, and clicks of each, on a million links of which the n-th is clicked 1/n as
/// often as the first.
const SECONDS: u32 = 30;
const RATE: u32 = 40_000;
const LINKS: usize = 1_000_000;

/// What it takes to write down a surge, a flush each second: the share of each second that the
/// store is busy.
async fn surge(name: &str, store: &Store) {
    let mut sums = Vec::with_capacity(LINKS);
    let mut sum = 0.0;
    for rank in 1..=LINKS {
        sum += 1.0 / rank as f64;
        sums.push(sum);
    }
    let mut random = fastrand::Rng::with_seed(7);
    let start = Unit::Minute.floor(system_clock());
    let mut all = Duration::ZERO;
    for second in 0..SECONDS {
        let at = start + Millis::from(second) * 1_000;
        let mut tally = Tally::default();
        for _ in 0..RATE {
            let rank = sums.partition_point(|known| *known < random.f64() * sum);
            let traits = Traits {
                referrer: Some("news.example".into()),
                country: None,
                agent: Agent { device: Device::Mobile, name: "Chrome" },
            };
            let code = Code::new(&format!("s{rank:06}")).expect("a code");
            tally.add(Click { code, at, traits, visitor: Some(random.u64(..)) });
        }
        let (counters, began, cpu) = (tally.len(), Instant::now(), cpu());
        for (number, tally) in tally.split(MOST_AT_ONCE).into_iter().enumerate() {
            let id = format!("surge-{second}-{number}").into();
            let part = Part { id, until: start + Unit::Day.millis(), settled: None, tally };
            store.count(Arc::new([part]), KEEP).await.expect("it is counted");
        }
        all += began.elapsed();
        if second % 10 == 9 {
            let took = began.elapsed();
            println!(
                "{name}: second {second} of a surge: {counters} counters: {took:?}, own CPU {:?}",
                self::cpu() - cpu
            );
        }
    }
    println!("{name}: a second of a surge: {:?}", all / SECONDS);
}

fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("stat");
    let rest = stat.rsplit(')').next().expect("fields");
    let fields: Vec<u64> = rest
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|field| field.parse().expect("ticks"))
        .collect();
    Duration::from_millis((fields[0] + fields[1]) * 10)
}
