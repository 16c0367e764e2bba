//! The binary: reads the configuration, opens the doors, and keeps them until it is told to stop.
//! The only crate that knows all others.

mod api;
mod cache;
mod change;
mod cli;
mod limits;
mod lists;
mod reload;
mod run;
mod shown;
mod source;
mod watch;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
