//! What is asked for, drawn beforehand: drawing takes longer than sending.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use seawall_testkit::RawClient;
use tempfile::NamedTempFile;

use super::links::{CODE, LINKS, Links};
use crate::bench::Setting;
use crate::bench::balance::stay_on;
use crate::bench::wrk::{self, Outcome, SUMMARY};

/// Requests that are drawn; then they begin anew.
const DRAWS: usize = 2_000_000;

/// How links are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Draw {
    /// Of so many, by Zipf's law with α = 1.
    Zipf(usize),
    /// Of all, each as likely.
    Uniform,
    /// None of them: codes that lead nowhere.
    Missing,
    /// One after the other of so many.
    Walk(usize),
}

/// Requests.
pub(super) struct Ask {
    method: &'static str,
    /// Whether the right answer is none of 2xx and 3xx.
    is_refused: bool,
    file: NamedTempFile,
}

impl Ask {
    /// `GET` of links that are drawn so.
    pub(super) fn of(links: &Links, draw: Draw) -> anyhow::Result<Ask> {
        let mut codes = Vec::with_capacity(DRAWS * CODE);
        let mut random = fastrand::Rng::with_seed(2);
        match draw {
            Draw::Zipf(most) => {
                let mut sum = 0.0;
                let sums: Vec<f64> = (1..=most)
                    .map(|rank| {
                        sum += 1.0 / rank as f64;
                        sum
                    })
                    .collect();
                for _ in 0..DRAWS {
                    let wanted = random.f64() * sum;
                    let rank = sums.partition_point(|sum| *sum < wanted).min(most - 1);
                    codes.extend_from_slice(links.code(rank));
                }
            }
            Draw::Uniform => {
                (0..DRAWS).for_each(|_| codes.extend_from_slice(links.code(random.usize(..LINKS))));
            }
            // No code of the sequence has a dash: one of 62^7 may be in use.
            Draw::Missing => (0..DRAWS).for_each(|_| {
                codes.push(b'-');
                codes.extend((1..CODE).map(|_| random.alphanumeric() as u8));
            }),
            Draw::Walk(most) => {
                (0..most).for_each(|rank| codes.extend_from_slice(links.code(rank)))
            }
        }
        Ask::with(&codes, draw == Draw::Missing)
    }

    /// `GET` of these codes, one behind the other.
    pub(super) fn with(codes: &[u8], is_refused: bool) -> anyhow::Result<Ask> {
        let mut file = NamedTempFile::new()?;
        file.write_all(codes)?;
        Ok(Ask { method: "GET", is_refused, file })
    }

    /// The same with HEAD.
    pub(super) fn head(self) -> Ask {
        Ask { method: "HEAD", ..self }
    }

    /// Sends them, beginning with the `start`-th. Unless they are to be counted they say that Seawall
    /// does.
    pub(super) fn send(
        &self,
        setting: &Setting,
        address: SocketAddr,
        connections: u32,
        seconds: u32,
        (is_counted, start): (bool, usize),
    ) -> anyhow::Result<Outcome> {
        if self.method == "HEAD" {
            return self.heads(setting, address, seconds);
        }
        let fields = if is_counted { "" } else { "Seawall-Reported: 1\\r\\n" };
        let script = self.script(fields, start);
        let url = format!("http://{address}/");
        let mut outcome = wrk::scripted(&setting.load_cores, &url, &script, connections, seconds)?;
        if self.is_refused {
            let (status, requests) = (outcome.errors.status, outcome.requests);
            ensure!(status == requests, "{status} of {requests} were refused");
            outcome.errors.status = 0;
        }
        Ok(outcome)
    }

    /// `wrk` waits for the content of answers to HEAD. Latency is that of as many as are sent at
    /// once.
    fn heads(
        &self,
        setting: &Setting,
        address: SocketAddr,
        seconds: u32,
    ) -> anyhow::Result<Outcome> {
        const CONNECTIONS: usize = 4;
        const AT_ONCE: usize = 16;
        let core = setting.load_cores.parse().context("the load has one core")?;
        let codes = std::fs::read(self.file.path())?;
        let begun = Instant::now();
        let end = begun + Duration::from_secs(seconds.into());
        let connection = |number: usize| -> anyhow::Result<Vec<u64>> {
            stay_on(core)?;
            let mut client = RawClient::connect(address)?;
            let mut took = Vec::new();
            let groups = codes.chunks(CODE * AT_ONCE).skip(number).step_by(CONNECTIONS);
            for group in groups.cycle().take_while(|_| Instant::now() < end) {
                let sent = Instant::now();
                let mut requests = String::new();
                for code in group.chunks(CODE) {
                    let code = String::from_utf8_lossy(code);
                    requests
                        .push_str(&format!("HEAD /{code} HTTP/1.1\r\nhost: go.example\r\n\r\n"));
                }
                client.send(requests)?;
                for _ in group.chunks(CODE) {
                    let status = client.read_response_to("HEAD")?.status;
                    ensure!(status == 302, "an answer with status {status}");
                    took.push(u64::try_from(sent.elapsed().as_micros())?);
                }
            }
            Ok(took)
        };
        let mut took = std::thread::scope(|scope| -> anyhow::Result<Vec<u64>> {
            let connection = &connection;
            let start = |number| scope.spawn(move || connection(number));
            let threads: Vec<_> = (0..CONNECTIONS).map(start).collect();
            let mut took = Vec::new();
            for thread in threads {
                took.extend(thread.join().map_err(|_| anyhow!("a connection panicked"))??);
            }
            Ok(took)
        })?;
        let micros = u64::try_from(begun.elapsed().as_micros())?;
        took.sort_unstable();
        let at = |part: usize| took.get(took.len() * part / 100).copied().unwrap_or_default();
        let (p50, p99, requests) = (at(50), at(99), took.len() as u64);
        Ok(Outcome { requests, micros, p50, p99, errors: wrk::Errors::default() })
    }

    fn script(&self, fields: &str, start: usize) -> String {
        let Ask { method, file, .. } = self;
        let path = lua(file.path());
        format!(
            "local start, size, method, fields = {start}, {CODE}, '{method}', '{fields}'\n\
             local file = io.open({path}, 'rb')\n{SCRIPT}{SUMMARY}"
        )
    }
}

/// As text of Lua.
fn lua(path: &Path) -> String {
    format!("[==[{}]==]", path.display())
}

/// Requests as browsers send them, behind a proxy that names them: of a few agents, from many
/// addresses, half of them from some page.
const SCRIPT: &str = "\
local data = file:read('*a')
file:close()
local agents = {
  'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36',
  'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36 Edg/131.0.0.0',
  'Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0',
  'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15',
  'Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1',
  'Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36',
  'Mozilla/5.0 (iPad; CPU OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1',
  'Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)',
}
local referrers = { '', '', '', 'https://news.example/', 'https://social.example/post/1', 'https://mail.example/' }
math.randomseed(3)
local heads, turn, at = {}, 0, start
for n = 1, 997 do
  local referrer = referrers[math.random(#referrers)]
  if referrer ~= '' then referrer = 'Referer: ' .. referrer .. '\\r\\n' end
  heads[n] = ' HTTP/1.1\\r\\nHost: go.example\\r\\nUser-Agent: ' .. agents[math.random(#agents)]
    .. '\\r\\nAccept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\\r\\n'
    .. 'Accept-Language: en-GB,en;q=0.5\\r\\nAccept-Encoding: gzip, deflate, br\\r\\n' .. referrer
    .. string.format('X-Forwarded-For: 10.%d.%d.%d\\r\\n', math.random(0, 255), math.random(0, 255), math.random(1, 254))
    .. fields .. '\\r\\n'
end
local draws = #data / size
request = function()
  at = at % draws + 1
  turn = turn % 997 + 1
  return method .. ' /' .. data:sub(at * size - size + 1, at * size) .. heads[turn]
end
";
