//! Random requests and a random origin, against what must hold of every answer.
//!
//! The origin writes down when it has stood for which version of which variant, and under which
//! terms. An answer is right if the origin has stood for it late enough, for this request: never
//! staler than allowed, never another variant, never somebody else's, never of two versions.
//! The moments are those of the two ends, so that any delay between them makes the check milder and
//! never wrong. `SEAWALL_MODEL_SEED` and `SEAWALL_MODEL_SECONDS` run it otherwise.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use seawall_testkit::{Conversation, Origin, Request, Response, Seawall};

use super::{content, range_of};
use crate::setup::Setup;

/// Resources; the last ones are large.
const RESOURCES: usize = 24;
const VARIANTS: [&str; 3] = ["a", "b", "c"];
const CLIENTS: usize = 12;

/// Milliseconds since the beginning.
type Moment = i64;

#[test]
fn every_answer_is_one_that_may_be_given() -> io::Result<()> {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let seed = number("SEAWALL_MODEL_SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed();
        now.map_or(1, |now| now.as_nanos() as u64)
    });
    let length = Duration::from_secs(number("SEAWALL_MODEL_SECONDS").unwrap_or(8));
    println!("SEAWALL_MODEL_SEED={seed}");
    let world = Arc::new(World::new(seed));
    let origin = Origin::scripted({
        let world = world.clone();
        move |conversation| world.serve(conversation)
    })?;
    let seawall = Setup::before(&origin)
        .workers(2)
        .with("[cache]\nmemory = \"16MiB\"")
        .route("cache = { max-object = \"8MiB\" }\nretry = { attempts = 1 }\ntimeout = \"20s\"")
        .start()?;
    let end = Instant::now() + length;
    let counts = Counts::default();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (world, seawall, counts) = (&world, &seawall, &counts);
                scope.spawn(move || world.client(seawall, number as u64, end, counts))
            })
            .collect();
        for client in clients {
            client.join().expect("a client panics only if its test is wrong")?;
        }
        io::Result::Ok(())
    })
    .map_err(|error| io::Error::other(format!("with SEAWALL_MODEL_SEED={seed}: {error}")))?;
    println!("{counts:?}");
    for (what, count) in [
        ("answers", &counts.answers),
        ("hits", &counts.hits),
        ("parts", &counts.parts),
        ("304", &counts.not_modified),
    ] {
        assert!(count.load(Relaxed) > 50, "too few {what}: {counts:?}");
    }
    Ok(())
}

#[derive(Debug, Default)]
struct Counts {
    answers: AtomicU64,
    hits: AtomicU64,
    stale: AtomicU64,
    parts: AtomicU64,
    not_modified: AtomicU64,
    failures: AtomicU64,
    cut: AtomicU64,
}

/// That the origin has stood for a version of a variant.
#[derive(Debug, Clone)]
struct Stood {
    at: Moment,
    variant: String,
    version: u32,
    max_age: Moment,
    while_revalidate: Moment,
    if_error: Moment,
    /// Only this request may have it.
    only: Option<String>,
    /// It is validated before each use.
    no_cache: bool,
    /// When the first client had it.
    seen: Option<Moment>,
}

/// What is known of a resource.
#[derive(Debug, Default)]
struct Resource {
    version: u32,
    stood: Vec<Stood>,
    /// When the origin failed, or broke an answer off, and when the first client was told.
    failed: Vec<(Moment, Option<Moment>)>,
    /// When it was changed by a request, by the origin's clock, and when the client had the answer.
    changed: Vec<(Moment, Moment)>,
}

/// By resource, version and variant.
type Contents = HashMap<(usize, u32, String), Arc<Vec<u8>>>;

struct World {
    began: Instant,
    seed: u64,
    random: AtomicU64,
    resources: Vec<Mutex<Resource>>,
    contents: Mutex<Contents>,
}

/// One request, and what is to hold of its answer.
struct Asked {
    resource: usize,
    variant: &'static str,
    id: String,
    no_cache: bool,
    only_if_cached: bool,
    max_stale: Moment,
    range: Option<String>,
    tag: Option<String>,
    began: Moment,
}

impl World {
    fn new(seed: u64) -> World {
        World {
            began: Instant::now(),
            seed,
            random: AtomicU64::new(seed),
            resources: (0..RESOURCES).map(|_| Mutex::default()).collect(),
            contents: Mutex::default(),
        }
    }

    fn now(&self) -> Moment {
        self.began.elapsed().as_millis() as Moment
    }

    /// A number below `most` (SplitMix64).
    fn random(&self, most: u64) -> u64 {
        let mut z = self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % most
    }

    fn resource(&self, number: usize) -> std::sync::MutexGuard<'_, Resource> {
        self.resources[number].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn content(&self, resource: usize, version: u32, variant: &str) -> Arc<Vec<u8>> {
        let mut contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (resource, version, variant.to_owned());
        let make = || {
            let salt = (self.seed as u32) ^ (version << 8) ^ ((resource as u32) << 20);
            let salt = salt ^ u32::from(variant.as_bytes()[0]);
            let length = match resource {
                0..20 => 10 + salt % 5_000,
                20..22 => 300_000 + salt % 2_000_000,
                _ => 2_200_000 + salt % 3_000_000,
            };
            Arc::new(content(length as usize, salt.wrapping_mul(0x9e37_79b9)))
        };
        contents.entry(key).or_insert_with(make).clone()
    }

    /// A connection of the origin.
    fn serve(&self, conversation: &mut Conversation) -> io::Result<()> {
        while let Some(request) = conversation.next_request()? {
            let number = request.target.trim_start_matches("/r/").parse().unwrap_or(0);
            if request.method == "POST" {
                let mut resource = self.resource(number);
                resource.version += 1;
                let at = self.now();
                drop(resource);
                let answer = Response::new(200, "").with("x-at", &at.to_string());
                conversation.respond(&request, answer)?;
                continue;
            }
            if self.random(3) == 0 {
                std::thread::sleep(Duration::from_millis(self.random(30)));
            }
            if !self.answer(conversation, &request, number)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Answers one request. Whether the connection goes on.
    fn answer(
        &self,
        conversation: &mut Conversation,
        request: &Request,
        number: usize,
    ) -> io::Result<bool> {
        let fate = self.random(100);
        // What varies does so always: an origin that forgets it is not to be helped.
        let varies = number.is_multiple_of(3);
        let variant = if varies { request.header("x-v").unwrap_or("a") } else { "a" };
        let mut resource = self.resource(number);
        if self.random(8) == 0 {
            resource.version += 1;
        }
        let version = resource.version;
        if fate < 8 {
            let at = self.now();
            let serial = resource.failed.len().to_string();
            resource.failed.push((at, None));
            drop(resource);
            let status = [500, 503, 502][self.random(3) as usize];
            let answer = Response::new(status, "failed").with("x-failure", &serial);
            conversation.respond(request, answer)?;
            return Ok(true);
        }
        let id = request.header("x-id").unwrap_or_default().to_owned();
        let max_age = self.random(3) as Moment;
        let mut stood = Stood {
            at: self.now(),
            variant: variant.to_owned(),
            version,
            max_age: max_age * 1000,
            while_revalidate: 0,
            if_error: 0,
            only: None,
            no_cache: false,
            seen: None,
        };
        let serial = resource.stood.len();
        let mut control = format!("max-age={max_age}");
        // Only some are ever private, as that is remembered.
        let personal = if number % 6 == 5 { 0 } else { 2 };
        match personal + self.random(10) {
            0 => control = "no-store, max-age=60".to_owned(),
            1 => control = "private, max-age=60".to_owned(),
            2 => control += ", stale-while-revalidate=1",
            3 => control += ", stale-if-error=2",
            4 => control += ", must-revalidate, stale-while-revalidate=60, stale-if-error=60",
            5 => control = "no-cache, max-age=60".to_owned(),
            _ => {}
        }
        match control.split_once(", ") {
            Some(("no-store" | "private", _)) => stood.only = Some(id.clone()),
            Some(("no-cache", _)) => (stood.no_cache, stood.max_age) = (true, 0),
            Some((_, "stale-while-revalidate=1")) => stood.while_revalidate = 1000,
            Some((_, "stale-if-error=2")) => stood.if_error = 2000,
            _ => {}
        }
        let tag = format!("\"{number}-{version}-{variant}\"");
        let mut answer = Response::new(200, "")
            .with("cache-control", &control)
            .with("etag", &tag)
            .with("x-serial", &serial.to_string())
            .with("x-version", &version.to_string())
            .with("x-variant", variant);
        if varies {
            answer = answer.with("vary", "X-V");
        }
        let body = self.content(number, version, variant);
        let had = request.header("if-none-match").unwrap_or_default();
        let breaks_off = fate < 14;
        if had.contains(&tag) && self.random(4) > 0 {
            answer.status = 304;
            resource.stood.push(stood);
            drop(resource);
            conversation.respond(request, answer)?;
            return Ok(true);
        }
        resource.stood.push(stood);
        if breaks_off {
            let at = self.now();
            resource.failed.push((at, None));
        }
        drop(resource);
        let part = range_of(request, body.len())
            .filter(|_| request.header("if-range").is_none_or(|had| had == tag));
        let (from, to) = part.unwrap_or((0, body.len()));
        if part.is_some() {
            answer.status = 206;
            let of = format!("bytes {from}-{}/{}", to - 1, body.len());
            answer = answer.with("content-range", &of);
        }
        let body = &body[from..to];
        let half = if self.random(4) == 0 { body.len() / 2 } else { body.len() };
        let (first, rest) = body.split_at(if breaks_off { body.len() / 2 } else { half });
        let chunked = self.random(2) == 0;
        let framing = match chunked {
            true => ("transfer-encoding", "chunked".to_owned()),
            false => ("content-length", body.len().to_string()),
        };
        answer = answer.with("accept-ranges", "bytes").with(framing.0, &framing.1);
        let mut head = answer.to_bytes(true);
        if chunked && !first.is_empty() {
            head.extend(format!("{:x}\r\n", first.len()).bytes());
            head.extend(first);
            head.extend(b"\r\n");
        } else {
            head.extend(first);
        }
        conversation.send(&head)?;
        if breaks_off {
            return Ok(false);
        }
        if !rest.is_empty() {
            std::thread::sleep(Duration::from_millis(self.random(40)));
            match chunked {
                true => conversation.send_chunk(rest)?,
                false => conversation.send(rest)?,
            }
        }
        if chunked {
            conversation.send("0\r\n\r\n")?;
        }
        Ok(true)
    }

    /// A client, until the end.
    fn client(
        &self,
        seawall: &Seawall,
        number: u64,
        end: Instant,
        counts: &Counts,
    ) -> io::Result<()> {
        let mut client = seawall.connect()?;
        let mut tags: HashMap<usize, String> = HashMap::new();
        let mut count = 0;
        let mut before = String::new();
        while Instant::now() < end {
            count += 1;
            // Some are asked for much more often than others.
            let most = 1 + self.random(RESOURCES as u64);
            let resource = self.random(most) as usize;
            if self.random(60) == 0 {
                let request = format!(
                    "POST /r/{resource} HTTP/1.1\r\nhost: test\r\ncontent-length: 0\r\n\r\n"
                );
                let answer = client.exchange(request)?;
                let at = answer.header("x-at").and_then(|at| at.parse().ok()).unwrap_or(0);
                self.resource(resource).changed.push((at, self.now() + 1));
                continue;
            }
            let asked = self.ask(resource, format!("{number}-{count}"), tags.get(&resource));
            let method = if self.random(12) == 0 { "HEAD" } else { "GET" };
            client.send(asked.text(method))?;
            let answer = client.read_response_to(method);
            self.judge(&asked, method, &answer, counts).map_err(|wrong| {
                io::Error::other(format!("{wrong}\n{}after {before}", asked.text(method)))
            })?;
            before = match &answer {
                Ok(Response { status, headers, .. }) => format!("{status} {headers:?} to\n"),
                Err(error) => format!("{error} to\n"),
            } + &asked.text(method);
            match answer {
                Ok(answer) => {
                    if let Some(tag) = answer.header("etag") {
                        tags.insert(resource, tag.to_owned());
                    }
                    if answer.headers.lists("connection", "close") {
                        client = seawall.connect()?;
                    }
                }
                Err(_) => client = seawall.connect()?,
            }
        }
        Ok(())
    }

    fn ask(&self, resource: usize, id: String, tag: Option<&String>) -> Asked {
        let mut asked = Asked {
            resource,
            variant: VARIANTS[self.random(3) as usize],
            id,
            no_cache: false,
            only_if_cached: false,
            max_stale: 0,
            range: None,
            tag: tag.filter(|_| self.random(3) == 0).cloned(),
            began: 0,
        };
        match self.random(20) {
            0 => asked.no_cache = true,
            1 => asked.only_if_cached = true,
            2 => asked.max_stale = 1,
            _ => {}
        }
        if self.random(4) == 0 {
            let from = self.random(if resource < 20 { 3_000 } else { 3_000_000 });
            asked.range = Some(format!("{from}-{}", from + self.random(1_000_000)));
        }
        asked.began = self.now();
        asked
    }

    /// Whether an answer may be given; why not, if not.
    fn judge(
        &self,
        asked: &Asked,
        method: &str,
        answer: &io::Result<Response>,
        counts: &Counts,
    ) -> Result<(), String> {
        let ended = self.now() + 1;
        let mut resource = self.resource(asked.resource);
        let failed = resource.failed.clone();
        let failed_at = |from: Moment| failed.iter().any(|(at, _)| (from..=ended).contains(at));
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                counts.cut.fetch_add(1, Relaxed);
                // An answer that breaks off may have been joined by those who came after that.
                let broke = failed_at(asked.began - 1000) || asked.resource >= 20;
                return if broke { Ok(()) } else { Err(format!("it broke off: {error}")) };
            }
        };
        counts.answers.fetch_add(1, Relaxed);
        let told = super::status_of(answer).to_owned();
        let field = |name: &str| answer.header(name).unwrap_or_default();
        let serial = field("x-serial").parse::<usize>().ok();
        let stood = serial.and_then(|serial| resource.stood.get_mut(serial));
        if let Some(stood) = stood.filter(|stood| stood.seen.is_none()) {
            stood.seen = Some(ended);
        }
        let stood = serial.and_then(|serial| resource.stood.get(serial)).cloned();
        let wrong = |why: String| {
            Err(format!(
                "{why}: {told}, {} {:?}, asked at {}, answered at {ended}, failed at {:?}, {stood:#?}",
                answer.status, answer.headers, asked.began, failed,
            ))
        };
        match answer.status {
            500..=503 => {
                counts.failures.fetch_add(1, Relaxed);
                let serial = field("x-failure").parse::<usize>().ok();
                let Some((_, seen)) = serial.and_then(|serial| resource.failed.get_mut(serial))
                else {
                    return wrong("no failure of the origin".to_owned());
                };
                return match *seen.get_or_insert(ended) >= asked.began {
                    true => Ok(()),
                    false => wrong("an old failure".to_owned()),
                };
            }
            504 if asked.only_if_cached => return Ok(()),
            416 if asked.range.is_some() => return Ok(()),
            200 | 206 | 304 => {}
            _ => return wrong("a strange status".to_owned()),
        }
        let Some(stood) = &stood else { return wrong("an unknown answer".to_owned()) };
        let from_tag = field("etag").trim_matches('"').to_owned();
        let mut words = from_tag.split('-').skip(1);
        let version = words.next().and_then(|word| word.parse::<u32>().ok()).unwrap_or(u32::MAX);
        let variant = words.next().unwrap_or_default();
        let expect = if asked.resource.is_multiple_of(3) { asked.variant } else { "a" };
        if variant != expect {
            return wrong(format!("the variant {variant}"));
        }
        if super::is_hit(answer) {
            counts.hits.fetch_add(1, Relaxed);
        }
        if told.contains("detail") {
            counts.stale.fetch_add(1, Relaxed);
        }
        let body = self.content(asked.resource, version, variant);
        match answer.status {
            304 => {
                counts.not_modified.fetch_add(1, Relaxed);
                if asked.tag.as_deref() != Some(field("etag")) {
                    return wrong("304 to who has something else".to_owned());
                }
            }
            _ if method == "HEAD" => {}
            200 if answer.body != *body => {
                let same = answer.body.iter().zip(body.iter()).take_while(|(a, b)| a == b).count();
                return wrong(format!(
                    "content of another version after {same} of {} bytes, {} came",
                    body.len(),
                    answer.body.len()
                ));
            }
            200 => {}
            _ => {
                counts.parts.fetch_add(1, Relaxed);
                let of = field("content-range").strip_prefix("bytes ").unwrap_or_default();
                let (part, length) = of.split_once('/').unwrap_or_default();
                let (from, to) = part.split_once('-').unwrap_or_default();
                let (from, to) =
                    (from.parse().unwrap_or(0_usize), to.parse::<usize>().unwrap_or(0) + 1);
                if length != body.len().to_string() || body.get(from..to) != Some(&answer.body[..])
                {
                    return wrong("a part of another version".to_owned());
                }
            }
        }
        if stood.version != version || stood.variant != variant {
            return wrong("fields of another version".to_owned());
        }
        if stood.only.as_ref().is_some_and(|only| *only != asked.id) {
            return wrong("an answer for somebody else".to_owned());
        }
        if let Some(age) = answer.header("age") {
            let age: Moment = age.parse().map_err(|_| format!("Age: {age}"))?;
            // The seconds of both ends are rounded, and the way there counts, too.
            let least = (asked.began - stood.at) / 1000 - 2;
            if age > (ended - stood.at) / 1000 + 2 || age < least {
                return wrong(format!("an age of {age}"));
            }
        }
        // Whatever the origin stood for before it was changed is not used by who asks after that.
        let least = resource
            .changed
            .iter()
            .filter(|(_, told)| *told < asked.began)
            .map(|(at, _)| *at)
            .max();
        if least.is_some_and(|least| stood.at < least) {
            return wrong(format!("it was changed at {least:?}"));
        }
        // Whoever had asked before anybody had it may have waited for it.
        if stood.seen >= Some(asked.began) {
            return Ok(());
        }
        // Whoever waits for a fetch that fails may have come shortly after the origin said so.
        let failed_lately = failed_at(asked.began - 250);
        if asked.no_cache && !failed_lately {
            return wrong("it was to be validated".to_owned());
        }
        let stale = if stood.no_cache { 0 } else { asked.max_stale * 1000 };
        let grace = if failed_lately { stood.if_error } else { 0 };
        let grace = stood.while_revalidate.max(stale).max(grace);
        match asked.began <= stood.at + stood.max_age + grace + 20 {
            true => Ok(()),
            false => wrong("staler than allowed".to_owned()),
        }
    }
}

impl Asked {
    fn text(&self, method: &str) -> String {
        let mut text = format!(
            "{method} /r/{} HTTP/1.1\r\nhost: test\r\nx-v: {}\r\nx-id: {}\r\n",
            self.resource, self.variant, self.id
        );
        if self.no_cache {
            text += "cache-control: no-cache\r\n";
        }
        if self.only_if_cached {
            text += "cache-control: only-if-cached\r\n";
        }
        if self.max_stale > 0 {
            text += &format!("cache-control: max-stale={}\r\n", self.max_stale);
        }
        if let Some(tag) = &self.tag {
            text += &format!("if-none-match: {tag}\r\n");
        }
        if let Some(range) = &self.range {
            text += &format!("range: bytes={range}\r\n");
        }
        text + "\r\n"
    }
}
