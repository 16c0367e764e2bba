//! Stories of servers that are checked, on a paused clock and with servers that only answer here;
//! and one with real ones.

use seawall_config::plan::{Probe, ServerAddress, ServerSpec};
use seawall_telemetry::Metrics;
use seawall_telemetry::metrics::CheckOutcome;
use seawall_testkit::{Origin, PATIENCE};
use tokio::time::sleep;

use super::super::Standing;
use super::*;

/// A check that asks for `probe`, patiently.
pub(super) fn check(probe: Probe) -> HealthCheck {
    let every = Duration::from_secs(2);
    HealthCheck { probe, every, timeout: PATIENCE, rise: 2, fall: 3, port: None }
}

/// What one such check finds.
pub(super) async fn found(server: SocketAddr, check: HealthCheck) -> Finding {
    let limits = HeadLimits { bytes: 32 << 10, headers: 100 };
    probe::ask(Question { server, check: Arc::new(check), limits, proxy_protocol: None }).await
}

/// Every 2 s, up to 1 s, 2 good ones or 3 bad ones in a row.
fn usual() -> HealthCheck {
    HealthCheck { timeout: Duration::from_secs(1), ..check(Probe::Tcp) }
}

/// How servers are.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
enum Mood {
    #[default]
    Well,
    /// It answers, badly.
    Ill,
    /// Good and bad in turn.
    Torn,
    /// It cannot be connected to.
    Gone,
    /// It can, and does not answer.
    Stuck,
    /// Nobody can be asked.
    Unasked,
}

/// What there is outside.
#[derive(Debug, Default)]
struct World {
    mood: Mood,
    /// When which server was checked.
    asked: Vec<(Duration, SocketAddr)>,
    /// When it was only connected to.
    tried: Vec<Duration>,
    open: usize,
    most_open: usize,
}

/// An upstream, those who check it, and the world.
struct Story {
    checks: Option<Checks>,
    upstream: Arc<Upstream>,
    plan: Plan,
    metrics: Metrics,
    world: Arc<Mutex<World>>,
    epoch: Instant,
}

impl Story {
    fn of(servers: usize, health: Option<HealthCheck>) -> Story {
        let plan = "[upstream.app]\nservers = [\"127.0.0.1:1\"]\n[[route]]\nto = \"app\"\n\
                    [listen.web]\naddress = \"127.0.0.1:0\"\n";
        let plan = seawall_config::load(plan, "seawall.toml", &|_| None).expect("a good plan").plan;
        let epoch = Instant::now();
        let world = Arc::<Mutex<World>>::default();
        let (asked, tried) = (world.clone(), world.clone());
        let control = Control {
            ask: Arc::new(move |question| Box::pin(answer(asked.clone(), question, epoch))),
            connect: Arc::new(move |_| {
                let mut world = tried.lock().expect("no test panics with it");
                world.tried.push(epoch.elapsed());
                let gone = world.mood == Mood::Gone;
                Box::pin(async move {
                    if gone { Err(std::io::ErrorKind::ConnectionRefused.into()) } else { Ok(()) }
                })
            }),
            ..Checks::new(epoch).control
        };
        let metrics = Metrics::new(1, vec![]);
        let mut story = Story {
            checks: Some(Checks { upstreams: HashMap::new(), control }),
            upstream: Arc::new(Upstream::new("app".into(), epoch, Arc::default(), &metrics)),
            plan,
            metrics,
            world,
            epoch,
        };
        story.set_servers(servers);
        story.reload(health);
        story
    }

    fn set_servers(&self, number: usize) {
        let spec = |n: usize| {
            let address = SocketAddr::from(([10, 0, (n >> 8) as u8, n as u8], 80));
            ServerSpec::new(ServerAddress::Socket(address))
        };
        let specs: Vec<ServerSpec> = (0..number).map(spec).collect();
        self.upstream.set_configured(&specs, None, self.now(), &self.metrics);
    }

    fn reload(&mut self, health: Option<HealthCheck>) {
        self.plan.upstreams[0].health = health;
        let checks = self.checks.as_mut().expect("checks have not ended");
        checks.apply(&self.plan, std::slice::from_ref(&self.upstream));
    }

    fn world(&self) -> std::sync::MutexGuard<'_, World> {
        self.world.lock().expect("no test panics with it")
    }

    /// The only server.
    fn server(&self) -> Arc<ServerState> {
        self.upstream.endpoints()[0].server.clone()
    }

    fn now(&self) -> u64 {
        self.epoch.elapsed().as_millis() as u64
    }

    fn standing(&self) -> Standing {
        self.server().standing(self.now())
    }

    fn asked(&self) -> usize {
        self.world().asked.len()
    }

    /// Goes on until something is so; gives the number of checks until then.
    async fn until(&self, what: &str, condition: impl Fn(&Story) -> bool) -> usize {
        let before = self.asked();
        let begun = Instant::now();
        while !condition(self) {
            assert!(begun.elapsed() < Duration::from_secs(600), "{what} does not come");
            sleep(Duration::from_millis(1)).await;
        }
        self.asked() - before
    }

    async fn until_it_is(&self, standing: Standing) -> usize {
        self.until(&format!("{standing:?}"), |story| story.standing() == standing).await
    }

    /// Times between checks, in milliseconds, from that with number `from` on.
    fn gaps(&self, from: usize) -> Vec<u64> {
        let world = self.world();
        let times = world.asked[from..].windows(2);
        times.map(|two| (two[1].0 - two[0].0).as_millis() as u64).collect()
    }
}

async fn answer(world: Arc<Mutex<World>>, question: Question, epoch: Instant) -> Finding {
    let (mood, nth) = {
        let mut world = world.lock().expect("no test panics with it");
        world.asked.push((epoch.elapsed(), question.server));
        world.open += 1;
        world.most_open = world.most_open.max(world.open);
        (world.mood, world.asked.len())
    };
    let finding = match mood {
        Mood::Well => Finding::good("status 200"),
        Mood::Torn if nth % 2 == 0 => Finding::good("status 200"),
        Mood::Ill | Mood::Torn => Finding::bad("status 503"),
        Mood::Gone => Finding { connected: false, ..Finding::bad("connection refused") },
        Mood::Unasked => {
            Finding { connected: false, outcome: CheckOutcome::Skipped, ..Finding::bad("no files") }
        }
        Mood::Stuck => {
            sleep(question.check.timeout).await;
            Finding { outcome: CheckOutcome::Timeout, ..Finding::bad("timed out after 1s") }
        }
    };
    world.lock().expect("no test panics with it").open -= 1;
    finding
}

#[tokio::test(start_paused = true)]
async fn a_server_falls_and_rises() {
    let story = Story::of(1, Some(usual()));
    let server = story.server();
    assert_eq!(server.check_report(), None);
    sleep(Duration::from_secs(60)).await;
    let report = server.check_report().expect("it was checked");
    assert!(report.good && report.decided && report.last.good && report.streak > 25, "{report:?}");
    assert!(story.gaps(0).iter().all(|gap| (1800..=2200).contains(gap)), "{:?}", story.gaps(0));
    assert_eq!(story.upstream.standings(), 0);
    let gauge = "seawall_upstream_check_healthy{upstream=\"app\",server=\"10.0.0.0:80\"}";
    assert!(story.metrics.expose().contains(&format!("{gauge} 1")));

    story.world().mood = Mood::Ill;
    let from = story.asked();
    assert_eq!(story.until_it_is(Standing::Failing).await, 3, "`fall` checks");
    assert!(story.gaps(from).iter().all(|gap| (360..=440).contains(gap)), "{:?}", story.gaps(from));
    assert_eq!(story.upstream.standings(), 1);
    story.upstream.look.notified().await;
    let report = server.check_report().expect("it was checked");
    assert_eq!((report.good, report.streak, &*report.last.reason), (false, 3, "status 503"));
    assert!(story.metrics.expose().contains(&format!("{gauge} 0")));
    assert!(!server.recovered.swap(false, Relaxed));
    sleep(Duration::from_secs(60)).await;
    assert_eq!(story.upstream.standings(), 1, "it is told once");

    story.world().mood = Mood::Well;
    assert_eq!(story.until_it_is(Standing::Ready).await, 2, "`rise` checks");
    assert_eq!(story.upstream.standings(), 2);
    story.upstream.look.notified().await;
    assert!(story.now() - server.since.load(Relaxed) <= 1, "it is new to requests");
    assert!(server.recovered.swap(false, Relaxed));
    assert!(!server.recovered.swap(false, Relaxed), "it is told once");
    let page = story.metrics.expose();
    assert!(page.contains(&format!("{gauge} 1")));
    for outcome in ["good", "answer"] {
        let labels = format!("upstream=\"app\",server=\"10.0.0.0:80\",outcome=\"{outcome}\"");
        assert!(page.contains(&format!("seawall_upstream_checks_total{{{labels}}}")), "{page}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_flapping_server_changes_nothing() {
    for hope in [Standing::Ready, Standing::Failing] {
        let story = Story::of(1, Some(usual()));
        story.world().mood = if hope == Standing::Ready { Mood::Well } else { Mood::Ill };
        sleep(Duration::from_secs(10)).await;
        let standings = story.upstream.standings();
        story.world().mood = Mood::Torn;
        for _ in 0..2000 {
            sleep(Duration::from_millis(100)).await;
            assert_eq!(story.standing(), hope);
        }
        assert_eq!(story.upstream.standings(), standings);
        assert!(story.asked() > 100, "while it is torn it is asked often");
    }
}

#[tokio::test(start_paused = true)]
async fn what_this_machine_lacks_is_not_held_against_servers() {
    let story = Story::of(1, Some(usual()));
    sleep(Duration::from_secs(10)).await;
    let report = story.server().check_report();
    story.world().mood = Mood::Unasked;
    sleep(Duration::from_secs(60)).await;
    assert_eq!((story.standing(), story.upstream.standings()), (Standing::Ready, 0));
    assert_eq!(story.server().check_report(), report);
    assert!(story.metrics.expose().contains("outcome=\"skipped\"} "));
}

#[tokio::test(start_paused = true)]
async fn requests_that_fail_make_checks_come_sooner() {
    let minute = Duration::from_secs(60);
    let story = Story::of(1, Some(HealthCheck { every: minute, ..usual() }));
    story.until("a good check", |story| story.asked() == 1).await;
    sleep(minute / 4).await;
    let before = story.now();
    for _ in 0..1000 {
        story.server().suspect();
    }
    story.until("a check", |story| story.asked() == 2).await;
    assert!(story.now() - before <= 13_200, "a fifth of a minute is fast, not {}", story.now());
    // Two good checks clear the suspicion.
    sleep(5 * minute).await;
    let gaps = story.gaps(1);
    assert!((10_800..=13_200).contains(&gaps[0]), "{gaps:?}");
    assert!(gaps[1..].iter().all(|gap| (54_000..=66_000).contains(gap)), "{gaps:?}");
}

#[tokio::test(start_paused = true)]
async fn a_reload_that_changes_nothing_disturbs_nothing() {
    let mut story = Story::of(1, Some(usual()));
    sleep(Duration::from_secs(10)).await;
    story.world().mood = Mood::Ill;
    let before = story.asked();
    story.until("two bad checks", |story| story.asked() == before + 2).await;
    story.reload(Some(usual()));
    assert_eq!(story.until_it_is(Standing::Failing).await, 1, "two of three were counted");
    let alive = alive_tasks();
    for _ in 0..100 {
        story.reload(Some(usual()));
        sleep(Duration::from_millis(100)).await;
        assert_eq!(story.standing(), Standing::Failing);
    }
    assert_eq!(story.upstream.standings(), 1);
    assert_eq!(alive_tasks(), alive);
    let gaps = story.gaps(before + 3);
    assert!(gaps.iter().all(|gap| (1800..=2200).contains(gap)), "no check was put off: {gaps:?}");
}

#[tokio::test(start_paused = true)]
async fn another_check_decides_anew_and_none_clears() {
    let mut story = Story::of(1, Some(usual()));
    story.world().mood = Mood::Ill;
    story.until_it_is(Standing::Failing).await;
    let other = HealthCheck { every: Duration::from_secs(5), rise: 4, ..usual() };

    // The other agrees, and nothing is told.
    story.reload(Some(other.clone()));
    sleep(Duration::from_secs(60)).await;
    assert_eq!((story.standing(), story.upstream.standings()), (Standing::Failing, 1));
    let gaps = story.gaps(story.asked() - 3);
    assert!(gaps.iter().all(|gap| (4500..=5500).contains(gap)), "{gaps:?}");

    // A third disagrees, and needs its own number of checks.
    story.world().mood = Mood::Well;
    story.reload(Some(HealthCheck { rise: 3, ..other }));
    assert_eq!(story.until_it_is(Standing::Ready).await, 3);

    story.world().mood = Mood::Ill;
    story.until_it_is(Standing::Failing).await;
    story.reload(None);
    story.until_it_is(Standing::Ready).await;
    assert_eq!(story.server().check_report(), None);
    assert!(!story.metrics.expose().contains("seawall_upstream_check_healthy{"));
    assert_eq!(story.upstream.standings(), 4);
    let asked = story.asked();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(story.asked(), asked, "nobody asks any more");

    // Checks that come back know nothing.
    story.reload(Some(usual()));
    assert_eq!(story.until_it_is(Standing::Failing).await, 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_known_of_a_server_that_returns_still_holds() {
    // It failed its checks when it left.
    let story = Story::of(1, Some(usual()));
    story.server().failing.store(true, Relaxed);
    sleep(Duration::ZERO).await;
    assert_eq!(story.standing(), Standing::Failing);
    assert_eq!(story.until_it_is(Standing::Ready).await, 2, "`rise` checks");
    assert!(story.server().recovered.load(Relaxed));

    // Nobody checks it any more.
    let story = Story::of(1, None);
    story.server().failing.store(true, Relaxed);
    story.until_it_is(Standing::Ready).await;
    assert_eq!(story.upstream.standings(), 1);

    // It could not be reached, and that was long ago.
    sleep(Duration::from_secs(60)).await;
    let story = Story::of(1, None);
    story.world().mood = Mood::Gone;
    story.server().held_until.store(1, Relaxed);
    assert!(story.server().cannot_connect(1000, "connection refused"));
    story.server().held_until.store(1, Relaxed);
    sleep(Duration::ZERO).await;
    for _ in 0..100 {
        assert_eq!(story.standing(), Standing::Unreachable);
        sleep(Duration::from_millis(500)).await;
    }
    story.world().mood = Mood::Well;
    story.until_it_is(Standing::Ready).await;
}

fn alive_tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

#[tokio::test(start_paused = true)]
async fn servers_that_are_gone_are_left_alone() {
    let mut story = Story::of(50, Some(usual()));
    sleep(Duration::from_secs(60)).await;
    assert_eq!(alive_tasks(), 51, "one a server, and who owns them");
    let asked_of_last = |story: &Story| {
        let world = story.world();
        world.asked.iter().filter(|(_, server)| server.ip().to_string() == "10.0.0.49").count()
    };
    let before = asked_of_last(&story);
    assert!(before > 25, "{before}");
    story.set_servers(10);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(alive_tasks(), 11);
    assert_eq!(asked_of_last(&story), before);
    let gauges = |page: String| page.matches("seawall_upstream_check_healthy{").count();
    assert_eq!(gauges(story.metrics.expose()), 10);
    // A server that comes back is a new one.
    story.set_servers(50);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(alive_tasks(), 51);
    assert!(asked_of_last(&story) > before + 25);
    assert_eq!(gauges(story.metrics.expose()), 50);
    // So is another upstream of the same name.
    let fresh = Upstream::new("app".into(), story.epoch, Arc::default(), &story.metrics);
    story.upstream = Arc::new(fresh);
    story.set_servers(5);
    story.reload(Some(usual()));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(alive_tasks(), 6);
    story.plan.upstreams.clear();
    story.checks.as_mut().expect("checks have not ended").apply(&story.plan, &[]);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(alive_tasks(), 0, "an upstream that is gone");
    drop(story.checks.take());
}

#[tokio::test(start_paused = true)]
async fn what_is_checked_ends_with_its_owner() {
    let mut story = Story::of(20, Some(usual()));
    story.world().mood = Mood::Stuck;
    sleep(Duration::from_secs(2)).await;
    drop(story.checks.take());
    sleep(Duration::from_millis(1)).await;
    assert_eq!(alive_tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_servers_are_checked_evenly_and_not_all_at_once() {
    let story = Story::of(1000, Some(usual()));
    sleep(Duration::from_secs(100)).await;
    let mut per_server: HashMap<SocketAddr, Vec<Duration>> = HashMap::new();
    for (at, server) in &story.world().asked {
        per_server.entry(*server).or_default().push(*at);
    }
    assert_eq!(per_server.len(), 1000);
    for (server, times) in &per_server {
        assert!((46..=57).contains(&times.len()), "{server}: {} checks", times.len());
    }
    // The first within the fast interval of 400 ms; a tenth of it has a tenth of them, or so.
    let mut buckets = [0; 10];
    for times in per_server.values() {
        buckets[(times[0].as_millis() as usize / 40).min(9)] += 1;
    }
    assert!(buckets.iter().all(|count| (30..=250).contains(count)), "{buckets:?}");

    let stuck = Story::of(1000, Some(HealthCheck { fall: 1000, ..usual() }));
    stuck.world().mood = Mood::Stuck;
    sleep(Duration::from_secs(60)).await;
    let world = stuck.world();
    assert_eq!(world.most_open, AT_A_TIME, "the others wait");
    assert!(world.asked.len() > 20 * 1000, "{}", world.asked.len());
}

#[tokio::test(start_paused = true)]
async fn who_cannot_be_reached_is_tried_again_in_the_background() {
    let story = Story::of(1, None);
    let server = story.server();
    sleep(Duration::from_secs(30)).await;
    assert!(story.world().tried.is_empty(), "there is no reason to");
    story.world().mood = Mood::Gone;
    let lost = story.now();
    assert!(server.cannot_connect(lost, "connection refused"));
    assert!(!server.cannot_connect(lost, "connection refused"), "that was known");
    for _ in 0..6000 {
        sleep(Duration::from_millis(20)).await;
        assert_eq!(story.standing(), Standing::Unreachable, "no request has to try it");
    }
    let mut before = Duration::from_millis(lost);
    let mut pauses = Vec::new();
    for tried in &story.world().tried {
        pauses.push((*tried - before).as_millis() as u64);
        before = *tried;
    }
    for (pause, expect) in pauses.iter().zip([1000, 1500, 2250, 3375, 5062, 7594, 10_000, 10_000]) {
        assert!(pause.abs_diff(expect) <= expect / 10 + 2, "{pauses:?}");
    }
    assert!(pauses.len() > 12 && pauses.iter().all(|pause| *pause <= 11_000), "{pauses:?}");

    story.world().mood = Mood::Well;
    let back = story.now();
    story.until_it_is(Standing::Ready).await;
    assert!(story.now() - back <= 11_000);
    assert!(story.now() - server.since.load(Relaxed) <= 1, "it is new to requests");
    let tried = story.world().tried.len();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(story.world().tried.len(), tried);
    assert_eq!(story.asked(), 0, "there is no check");

    // A request may be quicker.
    assert!(server.cannot_connect(story.now(), "timed out"));
    sleep(Duration::from_millis(500)).await;
    assert!(server.connected(story.now()));
    assert!(!server.connected(story.now()));
    assert_eq!(story.standing(), Standing::Ready);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(story.world().tried.len(), tried);
    assert_eq!(story.standing(), Standing::Ready);
    // And it may be lost once more.
    assert!(server.cannot_connect(story.now(), "timed out"));
    sleep(Duration::from_secs(60)).await;
    assert_eq!(story.world().tried.len(), tried + 1);
    assert_eq!(story.standing(), Standing::Ready);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_given_up_is_tried_with_more_patience() {
    let story = Story::of(1, None);
    let server = story.server();
    sleep(Duration::from_secs(30)).await;
    server.doubt();
    sleep(Duration::from_secs(30)).await;
    assert_eq!(story.world().tried.len(), 1, "once");
    assert_eq!(story.standing(), Standing::Ready);
    story.world().mood = Mood::Gone;
    server.doubt();
    story.until_it_is(Standing::Unreachable).await;
    story.world().mood = Mood::Well;
    story.until_it_is(Standing::Ready).await;
}

#[tokio::test(start_paused = true)]
async fn a_check_speaks_for_the_port_it_asks() {
    let minute = Duration::from_secs(60);
    let rare = HealthCheck { every: minute, ..usual() };
    let story = Story::of(1, Some(rare.clone()));
    sleep(minute).await;
    story.world().mood = Mood::Gone;
    // One check that finds nobody is enough to keep requests away.
    assert_eq!(story.until_it_is(Standing::Unreachable).await, 1);
    story.until("the verdict", |story| story.server().failing.load(Relaxed)).await;
    assert_eq!(story.standing(), Standing::Unreachable);
    sleep(minute).await;
    // Once somebody is there again it is asked at once, and not when that is due.
    story.world().mood = Mood::Well;
    let from = story.asked();
    story.until_it_is(Standing::Failing).await;
    let reached = story.now();
    story.until_it_is(Standing::Ready).await;
    assert_eq!(story.asked() - from, 2, "`rise` checks");
    let first = story.world().asked[from].0.as_millis() as u64;
    assert!(first.abs_diff(reached) <= 1, "{first} and {reached}");
    assert!(story.now() - reached <= 13_200, "the second comes fast");

    // Of another port, it says nothing about this one.
    let story = Story::of(1, Some(HealthCheck { port: Some(9000), ..rare }));
    story.world().mood = Mood::Gone;
    story.until_it_is(Standing::Failing).await;
    assert_eq!(story.server().held_until.load(Relaxed), 0);
    story.world().mood = Mood::Well;
    story.server().cannot_connect(story.now(), "connection refused");
    story.world().mood = Mood::Gone;
    sleep(5 * minute).await;
    assert_eq!(story.standing(), Standing::Unreachable);
}

#[tokio::test]
async fn a_real_server_dies_and_comes_back() {
    let origin = Origin::always("all is ok").expect("an origin");
    let address = origin.address();
    let mut story = Story::of(0, None);
    let spec = ServerSpec::new(ServerAddress::Socket(address));
    story.upstream.set_configured(&[spec], None, story.now(), &story.metrics);
    story.checks = Some(Checks::new(story.epoch));
    let (path, method) = ("/healthz".into(), "GET".into());
    let (status, body) = (vec![(200, 299)], Some("ok".into()));
    let probe = Probe::Http { path, method, host: None, status, body };
    story.reload(Some(HealthCheck { every: Duration::from_millis(50), ..check(probe) }));
    let comes = async |standing: Standing| {
        let change = async {
            while story.standing() != standing {
                story.upstream.look.notified().await;
            }
        };
        tokio::time::timeout(PATIENCE, change).await.unwrap_or_else(|_| {
            panic!("{standing:?} does not come: {:?}", story.server().check_report())
        });
    };
    let checked = tokio::task::spawn_blocking(move || origin.wait_for_requests(2));
    checked.await.expect("it does not panic").expect("checks");
    comes(Standing::Unreachable).await;
    let origin = Origin::responding_at(address, |_| seawall_testkit::Response::new(500, "ok"));
    let origin = origin.expect("the same address");
    comes(Standing::Failing).await;
    drop(origin);
    comes(Standing::Unreachable).await;
    let _origin = Origin::responding_at(address, |_| seawall_testkit::Response::new(200, "ok"));
    comes(Standing::Ready).await;
    assert!(story.server().recovered.load(Relaxed));
}
