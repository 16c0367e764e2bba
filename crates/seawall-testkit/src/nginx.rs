//! A real nginx with a configuration of the test's own, in a directory and on ports of its own.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use tempfile::TempDir;

use crate::PATIENCE;
use crate::address::ReservedPort;
use crate::gate::time_left;
use crate::process::{Process, command};

/// A running nginx. Dropping it kills it.
#[derive(Debug)]
pub struct Nginx {
    process: Process,
    port: ReservedPort,
    home: TempDir,
}

impl Nginx {
    /// Runs nginx with one `server` block on a free port of 127.0.0.1, whose content is `server`:
    /// `location` blocks and the like. `HOME/html` is its root, where [`Nginx::home`] is `HOME`.
    ///
    /// # Errors
    /// When nginx is missing or refuses the configuration; the error carries what it printed.
    pub fn serving(server: &str) -> io::Result<Self> {
        Self::configured(|listen| {
            format!(
                "worker_processes 1;\n\
                 events {{ worker_connections 4096; }}\n\
                 http {{\n\
                 access_log off;\n\
                 keepalive_requests 1000000;\n\
                 server {{\n{listen}\n{server}\n}}\n\
                 }}\n"
            )
        })
    }

    /// Runs nginx with the configuration that `config` makes of a `listen` directive. Paths in it
    /// are relative to [`Nginx::home`]; `daemon`, `pid`, `user` and the paths of logs and of
    /// temporary files are set already.
    ///
    /// # Errors
    /// As [`Nginx::serving`].
    pub fn configured(config: impl Fn(&str) -> String) -> io::Result<Self> {
        let home = tempfile::tempdir()?;
        std::fs::create_dir_all(home.path().join("html"))?;
        let port = ReservedPort::new()?;
        // The port stays reserved; `reuseport` lets nginx in beside the reservation.
        let config = config(&format!("listen {} reuseport;", port.address()));
        std::fs::write(home.path().join("nginx.conf"), with_paths(&config))?;
        let mut nginx = command("nginx", ["-e", "stderr", "-c", "nginx.conf", "-p"]);
        nginx.arg(home.path());
        // Debian puts it where only administrators look.
        let path = std::env::var("PATH").unwrap_or_default();
        nginx.env("PATH", format!("{path}:/usr/local/sbin:/usr/sbin"));
        // Workers of a privileged nginx would change to a user who may not read the directory.
        let user = match rustix::process::geteuid().is_root() {
            true => "user root; ",
            false => "",
        };
        nginx.args([
            "-g",
            &format!("{user}daemon off; master_process off; pid nginx.pid; error_log stderr;"),
        ]);
        let mut nginx = Self { process: Process::spawn(nginx)?, port, home };
        nginx.wait_until_listening()?;
        Ok(nginx)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Its directory; static files belong into `html` below it.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The process, the only one: without a master, so that killing it leaves nothing behind.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    fn wait_until_listening(&mut self) -> io::Result<()> {
        let deadline = std::time::Instant::now() + PATIENCE;
        while TcpStream::connect(self.address()).is_err() {
            // nginx tells nobody when it is up, so that it is asked until it is.
            let left = time_left(deadline, "nginx to listen")?;
            if !self.process.is_running()? {
                self.process.wait()?;
                let printed = self.process.text();
                return Err(io::Error::other(format!("nginx ended at once:\n{printed}")));
            }
            std::thread::sleep(left.min(std::time::Duration::from_millis(5)));
        }
        Ok(())
    }
}

/// Puts temporary files below the directory of this nginx.
fn with_paths(config: &str) -> String {
    let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("{kind}_temp_path temp-{kind};\n"))
        .collect();
    config.replacen("http {", &format!("http {{\n{paths}"), 1)
}
