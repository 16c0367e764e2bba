//! The command line.

mod purge;
mod warm;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::api::TOKEN_HELP;
use crate::lists::{self, Trouble};
use crate::run;
use crate::source::{DEFAULT_FILE, Source};

/// Lets a web application grow from one server to a surge of millions without a rewrite.
#[derive(Debug, Parser)]
#[command(name = "seawall", version, about, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run on a configuration file, or in front of one server with --to
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// Say everything that is wrong with a configuration file
    #[command(after_help = CHECK_EXAMPLES)]
    Check {
        /// The file
        #[arg(default_value = DEFAULT_FILE)]
        file: PathBuf,
    },
    /// Have a running process forget what its cache holds of something
    #[command(after_help = format!("{}\n\n{TOKEN_HELP}", purge::EXAMPLES))]
    Purge(purge::PurgeArgs),
    /// Have a running process fill its cache
    #[command(after_help = format!("{}\n\n{TOKEN_HELP}", warm::EXAMPLES))]
    Warm(warm::WarmArgs),
    /// Print a reference page
    #[command(after_help = REFERENCE_EXAMPLES)]
    Reference {
        /// Which one
        #[arg(value_enum, default_value_t = Page::Configuration)]
        page: Page,
    },
    /// Print the version
    Version,
    /// Print what makes a shell complete the commands and options
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// For which shell
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Print the manual page, in roff
    #[command(after_help = MAN_EXAMPLES)]
    Man,
}

const EXAMPLES: &str = "\
Examples:
  seawall run --to 127.0.0.1:3000       In front of one server, without a file
  seawall check                         Is ./seawall.toml right?
  seawall run --watch                   On ./seawall.toml, and on each change of it
  seawall purge --tag prices            What its cache holds of prices is out of date
  seawall reference | less              What a file can say";

const RUN_EXAMPLES: &str = "\
Examples:
  seawall run --to 127.0.0.1:3000 --listen 0.0.0.0:8080 --admin 127.0.0.1:9900
  seawall run --config /etc/seawall/seawall.toml

SIGHUP reads the file again; if it is wrong, the configuration in place stays.
SIGTERM or Ctrl-C lets the requests in flight end first; a second one does not.";

const CHECK_EXAMPLES: &str = "\
Examples:
  seawall check /etc/seawall/seawall.toml
  seawall check && kill -HUP \"$(pidof seawall)\"

Opens no port and looks up no name. Ends with 0 when the file can be used, else with 1.
${NAME} in the file takes its value from the environment of this command.";

const REFERENCE_EXAMPLES: &str = "\
Examples:
  seawall reference | less
  seawall reference schema > seawall.schema.json";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  seawall completions bash > ~/.local/share/bash-completion/completions/seawall
  seawall completions fish > ~/.config/fish/completions/seawall.fish";

const MAN_EXAMPLES: &str = "\
Examples:
  seawall man > ~/.local/share/man/man1/seawall.1";

/// Where the configuration comes from.
#[derive(Debug, Args)]
struct RunArgs {
    /// The configuration file [default: seawall.toml, if there is one]
    #[arg(long, short, value_name = "FILE", conflicts_with = "to")]
    config: Option<PathBuf>,
    /// Put the file in place again whenever it changes
    #[arg(long, conflicts_with = "to")]
    watch: bool,
    /// Run without a file, in front of this server
    #[arg(long, value_name = "HOST:PORT")]
    to: Option<String>,
    /// With --to: where to listen
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8080", requires = "to")]
    listen: String,
    /// With --to: where the admin API listens
    #[arg(long, value_name = "IP:PORT", requires = "to")]
    admin: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Page {
    /// Every configuration key
    Configuration,
    /// The JSON Schema of the configuration, for editors
    Schema,
    /// Every answer that Seawall makes itself
    Refusals,
}

/// Runs the program.
pub(crate) fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => start(args),
        Command::Check { file } => check(file),
        Command::Purge(args) => told(purge::purge(&args).map(|said| (said, true))),
        Command::Warm(args) => told(warm::warm(&args).map(|warmed| (warmed.said, warmed.good))),
        Command::Reference { page } => {
            let text = match page {
                Page::Configuration => seawall_config::reference(),
                Page::Schema => seawall_config::json_schema(),
                Page::Refusals => seawall_http::refuse::reference(),
            };
            print(&text);
            ExitCode::SUCCESS
        }
        Command::Version => {
            print(concat!("seawall ", env!("CARGO_PKG_VERSION"), "\n"));
            ExitCode::SUCCESS
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "seawall", &mut script);
            print(&String::from_utf8_lossy(&script));
            ExitCode::SUCCESS
        }
        Command::Man => {
            let mut page = Vec::new();
            if let Err(error) = clap_mangen::Man::new(Cli::command()).render(&mut page) {
                eprintln!("seawall: the manual page cannot be made: {error}");
                return ExitCode::FAILURE;
            }
            print(&String::from_utf8_lossy(&page));
            ExitCode::SUCCESS
        }
    }
}

fn start(args: RunArgs) -> ExitCode {
    let RunArgs { config, watch, to, listen, admin } = args;
    let source = match (config, to) {
        (Some(file), _) => Source::File { file, watch },
        (None, Some(to)) => Source::Server { to, listen, admin },
        (None, None) if PathBuf::from(DEFAULT_FILE).exists() => {
            Source::File { file: DEFAULT_FILE.into(), watch }
        }
        (None, None) => {
            eprint!("{WHAT_TO_DO}");
            return ExitCode::from(2);
        }
    };
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    match run::run(&source) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("seawall: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What `seawall run` says when it has nothing to run on.
const WHAT_TO_DO: &str = "\
There is no seawall.toml here, so Seawall does not know what to run in front of.
  In front of one server:   seawall run --to 127.0.0.1:3000
  On a configuration file:  seawall run --config FILE
  What a file can say:      seawall reference
  Is a file right?          seawall check FILE
";

/// Prints what a command says, and whether it did what was wanted.
fn told(result: anyhow::Result<(String, bool)>) -> ExitCode {
    match result {
        Ok((said, good)) => {
            print(&said);
            if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("seawall: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn check(file: PathBuf) -> ExitCode {
    let colours = std::io::stderr().is_terminal();
    match (Source::File { file: file.clone(), watch: false }).load() {
        Ok(loaded) => {
            eprint!("{}", loaded.warnings.render(colours));
            let plan = &loaded.plan;
            if !lists_are_right(plan, colours) {
                return ExitCode::FAILURE;
            }
            let count =
                |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
            print(&format!(
                "{}: right, with {}, {}, {} and {}\n",
                file.display(),
                count(plan.listeners.len(), "listener"),
                count(plan.upstreams.len(), "upstream"),
                count(plan.routes.len(), "route"),
                count(loaded.warnings.len(), "warning"),
            ));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}", error.render(colours).trim_end());
            ExitCode::FAILURE
        }
    }
}

/// Whether the files with servers are right, as far as they are there; says what is wrong.
fn lists_are_right(plan: &seawall_config::plan::Plan, colours: bool) -> bool {
    let mut right = true;
    for read in lists::read(plan) {
        match read.servers {
            Ok(_) => {}
            Err(Trouble::Wrong(problems)) => {
                eprint!("{}", problems.render(colours));
                right = false;
            }
            // It may be made later, by another program.
            Err(Trouble::Unreadable(error)) => {
                let (file, upstream) = (read.path.display(), &read.upstream);
                eprintln!("warning: {file}, with servers of `{upstream}`, cannot be read: {error}");
            }
        }
    }
    right
}

/// To standard output, which may be closed early (`| head`).
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
