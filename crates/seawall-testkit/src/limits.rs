//! Raises the limit on open files for tests and benchmarks with many connections.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit on open files of this process and of the children it starts afterwards to
/// `wanted`, or as far as it is allowed to, and returns where it stands then.
///
/// A privileged process raises its hard limit too; any other stays below its own.
///
/// # Errors
/// When the kernel refuses even what the hard limit allows.
pub fn raise_open_files(wanted: u64) -> io::Result<u64> {
    let now = getrlimit(Resource::Nofile);
    let soft = now.current.unwrap_or(u64::MAX);
    let hard = now.maximum.unwrap_or(u64::MAX);
    if soft >= wanted {
        return Ok(soft);
    }
    let set = |current: u64, maximum: Option<u64>| {
        let current = Some(current);
        setrlimit(Resource::Nofile, Rlimit { current, maximum })
    };
    if hard < wanted && set(wanted, Some(wanted)).is_ok() {
        return Ok(wanted);
    }
    let reachable = wanted.min(hard);
    set(reachable, now.maximum)?;
    Ok(reachable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_and_never_lowered() {
        let first = raise_open_files(512).expect("a limit within reach");
        let second = raise_open_files(first + 1).expect("the next one, or the same");
        assert!(second >= first);
        assert_eq!(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX), second);
        assert_eq!(raise_open_files(1).expect("nothing to do"), second);
    }
}
