//! A real redis-server, empty at its start, on a port of its own that it keeps when it is started
//! again.

use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::PATIENCE;
use crate::address::ReservedPort;
use crate::gate::time_left;
use crate::process::{Process, command};

/// A redis-server without persistence. Dropping it kills it.
#[derive(Debug)]
pub struct Redis {
    process: Process,
    port: ReservedPort,
    options: Vec<String>,
    home: TempDir,
}

impl Redis {
    /// Runs one on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When redis-server is missing or ends at once; the error carries what it printed.
    pub fn start() -> io::Result<Self> {
        Self::with(&[])
    }

    /// The same with further options, such as `["--requirepass", "secret"]`.
    ///
    /// # Errors
    /// As [`Redis::start`].
    pub fn with(options: &[&str]) -> io::Result<Self> {
        let port = ReservedPort::new()?;
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let home = tempfile::tempdir()?;
        let process = run(&port, &options, &home)?;
        let mut redis = Self { process, port, options, home };
        redis.wait_until_listening()?;
        Ok(redis)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Its URL, without user and password.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Kills it. Its port refuses connections until [`Redis::restart`].
    ///
    /// # Errors
    /// When it cannot be killed.
    pub fn kill(&mut self) -> io::Result<()> {
        self.process.kill().map(drop)
    }

    /// Starts it again at its old address, empty, after a kill.
    ///
    /// # Errors
    /// As [`Redis::start`].
    pub fn restart(&mut self) -> io::Result<()> {
        self.process = run(&self.port, &self.options, &self.home)?;
        self.wait_until_listening()
    }

    /// Stops it where it stands: connections stay open, and nothing is answered.
    ///
    /// # Errors
    /// When it has ended.
    pub fn pause(&mut self) -> io::Result<()> {
        self.process.signal(Signal::STOP)
    }

    /// Lets it go on after [`Redis::pause`].
    ///
    /// # Errors
    /// When it has ended.
    pub fn resume(&mut self) -> io::Result<()> {
        self.process.signal(Signal::CONT)
    }

    /// Sends one command over a connection of its own and returns the answer: texts as they are,
    /// numbers in digits, nothing as an empty text, elements of a list joined with line ends.
    ///
    /// # Errors
    /// When the server cannot be reached or answers with an error, which is the message.
    pub fn command(&self, words: &[&str]) -> io::Result<String> {
        let mut stream = TcpStream::connect(self.address())?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        stream.write_all(request.as_bytes())?;
        answer(&mut BufReader::new(stream))
    }

    fn wait_until_listening(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(self.address()).is_err() {
            // It tells nobody but its log when it is up, so that it is asked until it is.
            let left = time_left(deadline, "redis-server to listen")?;
            if !self.process.is_running()? {
                self.process.wait()?;
                let printed = self.process.text();
                return Err(io::Error::other(format!("redis-server ended at once:\n{printed}")));
            }
            std::thread::sleep(left.min(Duration::from_millis(5)));
        }
        Ok(())
    }
}

fn run(port: &ReservedPort, options: &Vec<String>, home: &TempDir) -> io::Result<Process> {
    let number = port.port().to_string();
    // It sets SO_REUSEADDR, as does the reservation, so that it is let in beside it.
    let fixed = ["--bind", "127.0.0.1", "--port", &number, "--save", "", "--appendonly", "no"];
    let mut server = command("redis-server", fixed);
    server.args(options).arg("--dir").arg(home.path());
    Process::spawn(server)
}

fn answer(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let line = line.trim_end();
    let Some((kind, rest)) = line.split_at_checked(1) else {
        return Err(io::Error::new(ErrorKind::UnexpectedEof, "redis-server hung up"));
    };
    let count = || rest.parse::<i64>().map_err(io::Error::other);
    match kind {
        "+" | ":" => Ok(rest.to_owned()),
        "-" => Err(io::Error::other(rest.to_owned())),
        "$" => {
            let Ok(length) = usize::try_from(count()?) else { return Ok(String::new()) };
            let mut bytes = vec![0; length + 2];
            reader.read_exact(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes[..length]).into_owned())
        }
        "*" => {
            let elements = (0..count()?).map(|_| answer(reader)).collect::<io::Result<Vec<_>>>()?;
            Ok(elements.join("\n"))
        }
        _ => Err(io::Error::new(ErrorKind::InvalidData, format!("not an answer: {line:?}"))),
    }
}
