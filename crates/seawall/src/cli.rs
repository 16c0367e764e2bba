//! The command line.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::run;
use crate::source::{DEFAULT_FILE, Source};

/// Lets a web application grow from one server to a surge of millions without a rewrite.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run on a configuration file, or in front of one server with --to
    Run(RunArgs),
    /// Say everything that is wrong with a configuration file
    Check {
        /// The file
        #[arg(default_value = DEFAULT_FILE)]
        file: PathBuf,
    },
    /// Print a reference page
    Reference {
        /// Which one
        #[arg(value_enum, default_value_t = Page::Configuration)]
        page: Page,
    },
}

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
        Command::Reference { page } => {
            let text = match page {
                Page::Configuration => seawall_config::reference(),
                Page::Schema => seawall_config::json_schema(),
                Page::Refusals => seawall_http::refuse::reference(),
            };
            print(&text);
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

fn check(file: PathBuf) -> ExitCode {
    let colours = std::io::stderr().is_terminal();
    match (Source::File { file: file.clone(), watch: false }).load() {
        Ok(loaded) => {
            eprint!("{}", loaded.warnings.render(colours));
            let plan = &loaded.plan;
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

/// To standard output, which may be closed early (`| head`).
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
