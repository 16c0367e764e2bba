//! The program `snip`.

use std::process::ExitCode;

fn main() -> ExitCode {
    match snip::cli::run(std::env::args_os()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("snip: {error:#}");
            ExitCode::FAILURE
        }
    }
}
