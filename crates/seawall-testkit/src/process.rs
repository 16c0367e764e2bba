//! A child process whose output is read line by line, and which never outlives its owner.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::PATIENCE;
use crate::gate::time_left;

/// Lines of output that are kept; older ones are forgotten.
const KEPT_LINES: usize = 10_000;

/// How long the output of a process that has ended may stay open.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Where a line was printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// One line a process printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Where.
    pub stream: Stream,
    /// What, without the line's end; invalid UTF-8 is replaced.
    pub text: String,
}

/// A running child process. Dropping it kills the process and waits for it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    output: Arc<Output>,
}

impl Process {
    /// Starts `command` with its output captured and its input closed, in the process group of
    /// this process.
    ///
    /// # Errors
    /// When the program is missing or cannot be started; the error names it.
    pub fn spawn(mut command: Command) -> io::Result<Self> {
        let name = program_name(&command);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| {
            io::Error::new(error.kind(), format!("cannot start {name}: {error}"))
        })?;
        let output = Arc::new(Output::default());
        if let Some(pipe) = child.stdout.take() {
            output.read_from(Stream::Out, pipe)?;
        }
        if let Some(pipe) = child.stderr.take() {
            output.read_from(Stream::Err, pipe)?;
        }
        Ok(Self { name, child, output })
    }

    /// The same in a process group of its own: a Ctrl-C at the terminal reaches only the parent,
    /// which then decides what becomes of this child.
    ///
    /// # Errors
    /// As [`Process::spawn`].
    pub fn spawn_apart(mut command: Command) -> io::Result<Self> {
        command.process_group(0);
        Self::spawn(command)
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What was printed so far, at most the last 10,000 lines.
    pub fn lines(&self) -> Vec<Line> {
        self.output.lock().lines.clone()
    }

    /// Everything printed so far as one text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for line in &self.output.lock().lines {
            text.push_str(&line.text);
            text.push('\n');
        }
        text
    }

    /// Waits for the first line, printed already or yet to come, of which `find` makes something.
    ///
    /// # Errors
    /// `TimedOut` after [`PATIENCE`], `BrokenPipe` when the process ends without such a line; both
    /// carry what it printed.
    pub fn wait_for_line<T>(&self, find: impl Fn(&Line) -> Option<T>) -> io::Result<T> {
        self.wait_for_lines(|lines| lines.iter().find_map(&find))
    }

    /// Waits for a line that contains `text` and returns it.
    ///
    /// # Errors
    /// As [`Process::wait_for_line`].
    pub fn wait_for_text(&self, text: &str) -> io::Result<String> {
        self.wait_for_line(|line| line.text.contains(text).then(|| line.text.clone()))
    }

    /// Waits until `find` makes something of all lines so far.
    ///
    /// # Errors
    /// As [`Process::wait_for_line`].
    pub fn wait_for_lines<T>(&self, find: impl Fn(&[Line]) -> Option<T>) -> io::Result<T> {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.output.lock();
        loop {
            if let Some(found) = find(&state.lines) {
                return Ok(found);
            }
            let problem = if state.open_pipes == 0 {
                Some((io::ErrorKind::BrokenPipe, "ended without the line waited for"))
            } else if time_left(deadline, "a line").is_err() {
                Some((io::ErrorKind::TimedOut, "did not print the line waited for"))
            } else {
                None
            };
            if let Some((kind, what)) = problem {
                drop(state);
                let message = format!("{} {what}; it printed:\n{}", self.name, self.text());
                return Err(io::Error::new(kind, message));
            }
            state = self.output.wait_on(state, Duration::from_millis(500));
        }
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn signal(&mut self, signal: Signal) -> io::Result<()> {
        // Only a child that was not waited for still owns its number.
        match self.child.try_wait()? {
            None => Ok(kill_process(self.pid()?, signal)?),
            Some(status) => Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("{} has ended already: {status}", self.name),
            )),
        }
    }

    /// Asks the process to end (SIGTERM).
    ///
    /// # Errors
    /// When the process is gone.
    pub fn terminate(&mut self) -> io::Result<()> {
        self.signal(Signal::TERM)
    }

    /// Kills the process (SIGKILL) and waits for its end.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub fn kill(&mut self) -> io::Result<ExitStatus> {
        self.child.kill()?;
        self.child.wait()
    }

    /// Whether the process still runs.
    ///
    /// # Errors
    /// When its state cannot be told.
    pub fn is_running(&mut self) -> io::Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Waits for the process to end by itself, and for the last of what it printed.
    ///
    /// # Errors
    /// `TimedOut` after [`PATIENCE`], with what it printed.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        self.wait_for(PATIENCE)
    }

    /// Waits for the process to end by itself within `patience`.
    ///
    /// # Errors
    /// `TimedOut`, with what it printed.
    pub fn wait_for(&mut self, patience: Duration) -> io::Result<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait()? {
                self.output.wait_for_end();
                return Ok(status);
            }
            let Ok(left) = time_left(deadline, "a process to end") else {
                let message = format!("{} does not end; it printed:\n{}", self.name, self.text());
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            };
            // There is no portable wait with a time limit: the end is looked for in short steps.
            thread::sleep(left.min(Duration::from_millis(5)));
        }
    }

    fn pid(&self) -> io::Result<Pid> {
        i32::try_from(self.child.id())
            .ok()
            .and_then(Pid::from_raw)
            .ok_or_else(|| io::Error::other("a process id out of range"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only when it has ended already, which is what is wanted.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The program as it was asked for, for messages.
pub(crate) fn program_name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

/// A command with arguments, as a one-liner.
pub(crate) fn command<A: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    arguments: impl IntoIterator<Item = A>,
) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

#[derive(Debug, Default)]
struct Output {
    state: Mutex<Printed>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Printed {
    lines: Vec<Line>,
    open_pipes: usize,
}

impl Output {
    fn lock(&self) -> MutexGuard<'_, Printed> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_on<'a>(
        &self,
        state: MutexGuard<'a, Printed>,
        time: Duration,
    ) -> MutexGuard<'a, Printed> {
        match self.changed.wait_timeout(state, time) {
            Ok((state, _)) => state,
            Err(poisoned) => poisoned.into_inner().0,
        }
    }

    /// Waits until both pipes are read to their end: the end of a process comes before what it
    /// printed last. A grandchild that holds a pipe open is not waited for long.
    fn wait_for_end(&self) {
        let deadline = Instant::now() + LAST_WORDS;
        let mut state = self.lock();
        while state.open_pipes > 0 {
            let Ok(left) = time_left(deadline, "the end of the output") else {
                return;
            };
            state = self.wait_on(state, left);
        }
    }

    /// Reads on a thread that ends with the pipe. It is not waited for: a grandchild may hold the
    /// pipe open longer than the process lives.
    fn read_from(
        self: &Arc<Self>,
        stream: Stream,
        pipe: impl Read + Send + 'static,
    ) -> io::Result<()> {
        self.lock().open_pipes += 1;
        let output = self.clone();
        thread::Builder::new().name("output".to_owned()).spawn(move || {
            let mut reader = BufReader::new(pipe);
            let mut bytes = Vec::new();
            while matches!(reader.read_until(b'\n', &mut bytes), Ok(count) if count > 0) {
                let text = String::from_utf8_lossy(&bytes);
                let text = text.trim_end_matches(['\n', '\r']).to_owned();
                let mut state = output.lock();
                if state.lines.len() >= KEPT_LINES {
                    state.lines.drain(..KEPT_LINES / 2);
                }
                state.lines.push(Line { stream, text });
                output.changed.notify_all();
                bytes.clear();
            }
            output.lock().open_pipes -= 1;
            output.changed.notify_all();
        })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Process {
        Process::spawn(command("sh", ["-c", script])).expect("a shell")
    }

    #[test]
    fn lines_of_both_streams_are_seen() {
        let mut process = shell("echo out; echo err >&2; exit 3");
        let out = process.wait_for_line(|line| (line.text == "out").then_some(line.stream));
        let err = process.wait_for_line(|line| (line.text == "err").then_some(line.stream));
        assert_eq!(out.expect("a line"), Stream::Out);
        assert_eq!(err.expect("a line"), Stream::Err);
        assert_eq!(process.wait().expect("it ends").code(), Some(3));
    }

    #[test]
    fn a_line_that_never_comes_is_reported_with_the_output() {
        let process = shell("echo something else");
        let error = process.wait_for_text("ready").expect_err("it never said so");
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        assert!(error.to_string().contains("something else"), "{error}");
    }

    #[test]
    fn signals_reach_the_process_and_not_its_successor() {
        let mut process = shell("trap 'echo hup' HUP; echo up; while :; do sleep 0.01; done");
        process.wait_for_text("up").expect("it runs");
        process.signal(Signal::HUP).expect("to signal");
        process.wait_for_text("hup").expect("it heard");
        process.kill().expect("to kill");
        assert!(process.signal(Signal::HUP).is_err());
        assert!(!process.is_running().expect("a state"));
    }

    #[test]
    fn the_last_words_are_there_at_the_end() {
        let mut process = shell("seq 1 5000; exit 1");
        process.wait().expect("it ends");
        assert_eq!(process.lines().len(), 5000);
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = Process::spawn(Command::new("no-such-program-here")).expect_err("missing");
        assert!(error.to_string().contains("no-such-program-here"), "{error}");
    }
}
