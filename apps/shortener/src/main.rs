//! The program `snip`.

fn main() {}
