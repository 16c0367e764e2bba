//! A real nats-server with JetStream, empty at its start, on a port that it keeps when it is started
//! again.

use std::io;
use std::net::SocketAddr;

use tempfile::TempDir;

use crate::address::ReservedPort;
use crate::process::{Process, command};

/// A nats-server with JetStream. Dropping it kills it.
#[derive(Debug)]
pub struct Nats {
    process: Process,
    port: ReservedPort,
    home: TempDir,
}

impl Nats {
    /// Runs one on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When nats-server is missing or ends at once; the error carries what it printed.
    pub fn start() -> io::Result<Self> {
        let (port, home) = (ReservedPort::new()?, tempfile::tempdir()?);
        let process = run(&port, &home)?;
        Ok(Self { process, port, home })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address())
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Kills it. Its port refuses connections until [`Nats::restart`].
    ///
    /// # Errors
    /// When it cannot be killed.
    pub fn kill(&mut self) -> io::Result<()> {
        self.process.kill()?;
        self.process.wait().map(drop)
    }

    /// Starts it again at its old address, after a kill, with the streams that it had.
    ///
    /// # Errors
    /// As [`Nats::start`].
    pub fn restart(&mut self) -> io::Result<()> {
        self.process = run(&self.port, &self.home)?;
        Ok(())
    }

    /// Forgets all streams while it is killed.
    ///
    /// # Errors
    /// When its files cannot be deleted.
    pub fn forget(&self) -> io::Result<()> {
        std::fs::remove_dir_all(self.home.path().join("jetstream"))
    }
}

fn run(port: &ReservedPort, home: &TempDir) -> io::Result<Process> {
    // It sets SO_REUSEADDR, as does the reservation, so that it is let in beside it.
    let number = port.port().to_string();
    let mut server = command("nats-server", ["-a", "127.0.0.1", "-p", &number, "-js", "-sd"]);
    server.arg(home.path());
    let process = Process::spawn(server)?;
    process.wait_for_text("Server is ready")?;
    Ok(process)
}
