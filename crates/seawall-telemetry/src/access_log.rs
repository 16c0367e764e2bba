//! The access log: one JSON line a request, or a connection that is proxied as TCP, written by a
//! thread of its own.
//!
//! Workers collect lines in a buffer and hand over whole buffers. When the writer cannot keep up
//! (a full disk, a blocked pipe), buffers are dropped and their lines counted: a log never slows a
//! request down.

use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use crate::json;
use crate::metrics::TcpOutcome;

/// Where the lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Standard output.
    Stdout,
    /// Appended to this file.
    File(PathBuf),
}

impl std::fmt::Display for Destination {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Destination::Stdout => out.write_str("standard output"),
            Destination::File(path) => write!(out, "{}", path.display()),
        }
    }
}

/// Buffers that may wait for the writer, all workers together.
const MAX_WAITING: usize = 256;

/// A worker hands its buffer over when it is this long, or when a while has passed.
const BUFFER: usize = 32 * 1024;

/// The writer's side of the log; cheap to clone.
#[derive(Debug, Clone)]
pub struct AccessLog {
    to_writer: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Message {
    Lines { text: Vec<u8>, count: u64 },
    Reopen(Destination),
    Flush(SyncSender<()>),
}

impl AccessLog {
    /// Opens the destination and starts the writer.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened for appending.
    pub fn start(destination: &Destination) -> io::Result<AccessLog> {
        let sink = open(destination)?;
        let (to_writer, messages) = sync_channel(MAX_WAITING);
        let dropped: Arc<AtomicU64> = Arc::default();
        let (lost, to) = (dropped.clone(), destination.clone());
        std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write(sink, to, &messages, &lost))?;
        Ok(AccessLog { to_writer, dropped })
    }

    /// Opens the destination again, so that a rotated file is let go; also changes it.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened; the log then goes on where it went before. `WouldBlock` when
    /// the writer is stuck with more than it can hold: whoever asks must not get stuck with it, and
    /// may start another log.
    pub fn reopen(&self, destination: &Destination) -> io::Result<()> {
        drop(open(destination)?);
        self.to_writer.try_send(Message::Reopen(destination.clone())).map_err(|error| match error {
            TrySendError::Full(_) => io::ErrorKind::WouldBlock.into(),
            TrySendError::Disconnected(_) => io::Error::other("the access log's writer has ended"),
        })
    }

    /// Waits until everything handed over so far is written, or `patience` has passed.
    pub fn flush(&self, patience: Duration) {
        let (done, is_done) = sync_channel(1);
        if self.to_writer.try_send(Message::Flush(done)).is_ok() {
            let _ = is_done.recv_timeout(patience);
        }
    }

    /// Lines lost because the writer could not keep up or the destination took no more (a full
    /// disk).
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// A buffer for one worker.
    pub fn buffer(&self) -> Lines {
        Lines { log: self.clone(), text: Vec::new(), count: 0 }
    }
}

fn open(destination: &Destination) -> io::Result<Box<dyn Write + Send>> {
    Ok(match destination {
        Destination::Stdout => Box::new(io::stdout()),
        Destination::File(path) => {
            Box::new(OpenOptions::new().append(true).create(true).open(path)?)
        }
    })
}

fn write(
    mut sink: Box<dyn Write + Send>,
    mut to: Destination,
    messages: &Receiver<Message>,
    lost: &AtomicU64,
) {
    let mut failing = false;
    while let Ok(message) = messages.recv() {
        match message {
            Message::Lines { text, count } => {
                let result = sink.write_all(&text).and_then(|()| sink.flush());
                if let (Err(error), false) = (&result, failing) {
                    tracing::error!(
                        "the access log cannot be written to {to}: {error}; its lines are lost until it \
                         can: make room there, or name another place in server.access-log"
                    );
                }
                failing = result.is_err();
                if failing {
                    lost.fetch_add(count, Relaxed);
                }
            }
            Message::Reopen(destination) => match open(&destination) {
                Ok(fresh) => (sink, to) = (fresh, destination),
                Err(error) => tracing::error!(
                    "the access log cannot be opened at {destination}: {error}; it goes on at {to}"
                ),
            },
            Message::Flush(done) => {
                let _ = done.send(());
            }
        }
    }
}

/// The buffer of one worker.
#[derive(Debug)]
pub struct Lines {
    log: AccessLog,
    text: Vec<u8>,
    count: u64,
}

/// What a line says of one exchange.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// When the request was complete, in milliseconds since 1970 (UTC).
    pub time_millis: u64,
    /// Name of the listener.
    pub listener: &'a str,
    /// Name of the route, or nothing when none was found.
    pub route: &'a str,
    /// Address of the client as far as trusted peers tell it.
    pub client: &'a [u8],
    /// Method, as it was written.
    pub method: &'a [u8],
    /// The host asked for.
    pub host: &'a [u8],
    /// Path and query.
    pub path: &'a [u8],
    /// The query with its `?`.
    pub query: &'a [u8],
    /// Status of the answer; 499 when the client left before there was one.
    pub status: u16,
    /// Bytes of the request's content.
    pub received: u64,
    /// Bytes of the answer's content.
    pub sent: u64,
    /// From the first byte of the request to the last of the answer.
    pub duration: Duration,
    /// The server that answered, or nothing.
    pub server: &'a str,
    /// The code of the refusal, or nothing.
    pub refusal: &'a str,
    /// What the cache did, in the words of its metrics; nothing where there is none.
    pub cache: &'a str,
    /// What `Age` of the answer says, in seconds.
    pub age: Option<u32>,
    /// `User-Agent`.
    pub agent: &'a [u8],
    /// The trace id of `traceparent`, or 0.
    pub trace: u128,
}

/// What a line says of one connection that was proxied as TCP. The keys are those of an
/// [`Entry`], as far as it has them.
#[derive(Debug, Clone, Copy)]
pub struct TcpEntry<'a> {
    /// When it ended, in milliseconds since 1970 (UTC).
    pub time_millis: u64,
    /// Name of the listener.
    pub listener: &'a str,
    /// Address of the client, as a trusted peer tells it.
    pub client: IpAddr,
    /// Bytes of the client that the server was sent.
    pub received: u64,
    /// Bytes of the server that the client was sent.
    pub sent: u64,
    /// The server, or nothing.
    pub server: &'a str,
    /// How it ended.
    pub outcome: TcpOutcome,
    /// The code of the refusal, or nothing.
    pub refusal: &'a str,
    /// From its beginning to its end.
    pub duration: Duration,
}

impl Lines {
    /// Adds a line, and hands the buffer over when it is full.
    pub fn push(&mut self, entry: &Entry<'_>) {
        entry.write(&mut self.text);
        self.added();
    }

    /// Adds the line of a connection that was proxied as TCP.
    pub fn push_tcp(&mut self, entry: &TcpEntry<'_>) {
        entry.write(&mut self.text);
        self.added();
    }

    fn added(&mut self) {
        self.count += 1;
        if self.text.len() >= BUFFER {
            self.hand_over();
        }
    }

    /// Hands over what is there.
    pub fn hand_over(&mut self) {
        if self.text.is_empty() {
            return;
        }
        let text = std::mem::take(&mut self.text);
        let count = std::mem::take(&mut self.count);
        match self.log.to_writer.try_send(Message::Lines { text, count }) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.log.dropped.fetch_add(count, Relaxed);
            }
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.hand_over();
    }
}

/// A line in the making.
struct Line<'a>(&'a mut Vec<u8>);

impl<'a> Line<'a> {
    fn begin(out: &'a mut Vec<u8>, time_millis: u64) -> Line<'a> {
        let _ = write!(out, "{{\"time\":\"{}\"", Timestamp(time_millis));
        Line(out)
    }

    fn text(&mut self, name: &str, value: &[u8]) {
        let _ = write!(self.0, ",\"{name}\":");
        json::string(value, self.0);
    }

    /// The text, if there is any.
    fn some(&mut self, name: &str, value: &[u8]) {
        if !value.is_empty() {
            self.text(name, value);
        }
    }

    /// Something that needs no quotes.
    fn plain(&mut self, name: &str, value: impl Display) {
        let _ = write!(self.0, ",\"{name}\":{value}");
    }

    fn end(self, duration: Duration) {
        let _ = writeln!(self.0, ",\"duration_ms\":{:.3}}}", duration.as_secs_f64() * 1e3);
    }
}

impl Entry<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        let mut line = Line::begin(out, self.time_millis);
        line.text("listener", self.listener.as_bytes());
        line.text("route", self.route.as_bytes());
        line.text("client", self.client);
        line.text("method", self.method);
        line.text("host", self.host);
        line.text("path", self.path);
        line.some("query", self.query);
        line.plain("status", self.status);
        line.plain("received", self.received);
        line.plain("sent", self.sent);
        line.some("server", self.server.as_bytes());
        line.some("refusal", self.refusal.as_bytes());
        line.some("cache", self.cache.as_bytes());
        if let Some(age) = self.age {
            line.plain("age", age);
        }
        line.some("agent", self.agent);
        if self.trace != 0 {
            line.plain("trace", format_args!("\"{:032x}\"", self.trace));
        }
        line.end(self.duration);
    }
}

impl TcpEntry<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        let mut line = Line::begin(out, self.time_millis);
        line.text("listener", self.listener.as_bytes());
        line.plain("client", format_args!("\"{}\"", self.client.to_canonical()));
        line.plain("received", self.received);
        line.plain("sent", self.sent);
        line.some("server", self.server.as_bytes());
        line.text("outcome", self.outcome.word().as_bytes());
        line.some("refusal", self.refusal.as_bytes());
        line.end(self.duration);
    }
}

/// Milliseconds since 1970 as RFC 3339.
struct Timestamp(u64);

impl std::fmt::Display for Timestamp {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (seconds, millis) = (self.0 / 1000, self.0 % 1000);
        let (days, in_day) = ((seconds / 86_400) as i64, seconds % 86_400);
        // Days to civil date: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let of_era = shifted.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_index = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month_index + 2) / 5 + 1;
        let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let (hour, minute, second) = (in_day / 3600, in_day / 60 % 60, in_day % 60);
        write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: Entry<'static> = Entry {
        time_millis: 951_782_400_042,
        listener: "web",
        route: "api",
        client: b"127.0.0.1",
        method: b"GET",
        host: b"example.com",
        path: b"/a\"b",
        query: b"?x",
        status: 200,
        received: 0,
        sent: 7,
        duration: Duration::from_micros(1500),
        server: "127.0.0.1:3000",
        refusal: "",
        cache: "stale",
        age: Some(61),
        agent: b"curl",
        trace: 0xab,
    };

    #[test]
    fn a_line_is_json() {
        let mut out = Vec::new();
        ENTRY.write(&mut out);
        let expect = "{\"time\":\"2000-02-29T00:00:00.042Z\",\"listener\":\"web\",\"route\":\"api\",\
            \"client\":\"127.0.0.1\",\"method\":\"GET\",\"host\":\"example.com\",\"path\":\"/a\\\"b\",\
            \"query\":\"?x\",\"status\":200,\"received\":0,\"sent\":7,\"server\":\"127.0.0.1:3000\",\
            \"cache\":\"stale\",\"age\":61,\"agent\":\"curl\",\"trace\":\"000000000000000000000000000000ab\",\"duration_ms\":1.500}\n";
        assert_eq!(String::from_utf8_lossy(&out), expect);
    }

    #[test]
    fn a_line_of_a_connection_is_json_too() {
        let entry = TcpEntry {
            time_millis: 951_782_400_042,
            listener: "db",
            client: "::ffff:192.0.2.1".parse().expect("an address"),
            received: 3,
            sent: 7,
            server: "127.0.0.1:5432",
            outcome: TcpOutcome::ServerFailed,
            refusal: "",
            duration: Duration::from_micros(1500),
        };
        let mut out = Vec::new();
        entry.write(&mut out);
        let refused =
            TcpEntry { server: "", outcome: TcpOutcome::Refused, refusal: "unresolved", ..entry };
        refused.write(&mut out);
        let start = "{\"time\":\"2000-02-29T00:00:00.042Z\",\"listener\":\"db\",\
            \"client\":\"192.0.2.1\",\"received\":3,\"sent\":7,";
        let expect = format!(
            "{start}\"server\":\"127.0.0.1:5432\",\"outcome\":\"server-failed\",\"duration_ms\":1.500}}\n\
             {start}\"outcome\":\"refused\",\"refusal\":\"unresolved\",\"duration_ms\":1.500}}\n"
        );
        assert_eq!(String::from_utf8_lossy(&out), expect);
    }

    #[test]
    fn dates() {
        for (millis, expect) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (4_102_444_800_000, "2100-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(Timestamp(millis).to_string(), expect);
        }
    }

    #[test]
    fn lines_reach_the_file_and_a_rotated_one_is_let_go() -> io::Result<()> {
        let folder =
            std::env::temp_dir().join(format!("seawall-access-log-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let (path, rotated) = (folder.join("a.log"), folder.join("a.log.1"));
        let destination = Destination::File(path.clone());
        let log = AccessLog::start(&destination)?;
        let mut lines = log.buffer();
        lines.push(&ENTRY);
        lines.hand_over();
        log.flush(Duration::from_secs(10));
        std::fs::rename(&path, &rotated)?;
        log.reopen(&destination)?;
        lines.push(&ENTRY);
        lines.push(&ENTRY);
        drop(lines);
        log.flush(Duration::from_secs(10));
        assert_eq!(std::fs::read_to_string(&rotated)?.lines().count(), 1);
        assert_eq!(std::fs::read_to_string(&path)?.lines().count(), 2);
        assert_eq!(log.dropped(), 0);
        std::fs::remove_dir_all(&folder)
    }
}
