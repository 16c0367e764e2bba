//! The binary: reads the configuration, opens the doors, and keeps them until it is told to stop.
//! The only crate that knows all others.

mod cli;
mod limits;
mod reload;
mod run;
mod source;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
