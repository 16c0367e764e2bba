//! Real applications as origins: a Node program and Python's `http.server`. Both are found on
//! `PATH` and choose their own free port.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use tempfile::TempDir;

use crate::process::{Process, command};

/// A Node program.
#[derive(Debug)]
pub struct NodeApp {
    process: Process,
    address: SocketAddr,
    _home: TempDir,
}

impl NodeApp {
    /// Runs `script` (CommonJS), which must listen on 127.0.0.1 at port 0 and then print
    /// `listening PORT` on a line of its own.
    ///
    /// # Errors
    /// When `node` is missing, or the script ends without that line.
    pub fn start(script: &str) -> io::Result<Self> {
        let home = tempfile::tempdir()?;
        let file = home.path().join("app.js");
        std::fs::write(&file, script)?;
        let process = Process::spawn(command("node", [&file]))?;
        let port: u16 = process
            .wait_for_line(|line| line.text.strip_prefix("listening ")?.trim().parse().ok())?;
        Ok(Self { process, address: SocketAddr::from(([127, 0, 0, 1], port)), _home: home })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// Python's `http.server` over a directory: HTTP/1.0 answers framed by the close.
#[derive(Debug)]
pub struct PythonHttpServer {
    process: Process,
    address: SocketAddr,
}

impl PythonHttpServer {
    /// Serves the files below `directory`.
    ///
    /// # Errors
    /// When `python3` is missing, or the server does not come up.
    pub fn start(directory: &Path) -> io::Result<Self> {
        let mut server = command("python3", ["-u", "-m", "http.server", "0"]);
        server.args(["--bind", "127.0.0.1", "--directory"]).arg(directory);
        let process = Process::spawn(server)?;
        let port: u16 = process.wait_for_line(|line| {
            let (_, rest) = line.text.split_once(" port ")?;
            rest.split(' ').next()?.parse().ok()
        })?;
        Ok(Self { process, address: SocketAddr::from(([127, 0, 0, 1], port)) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}
