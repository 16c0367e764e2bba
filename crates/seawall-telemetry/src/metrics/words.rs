//! Words that labels of metrics and fields of logs have for values: each list is closed.

/// How a connection that is proxied as TCP ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TcpOutcome {
    /// Both sides closed.
    Closed,
    /// Neither side sent anything for too long.
    Idle,
    /// The connection to the client failed.
    ClientFailed,
    /// The connection to the server failed.
    ServerFailed,
    /// There was no server for it.
    Refused,
    /// It was still there when the time to drain was over.
    Cut,
}

impl TcpOutcome {
    /// All of them, in the order of their numbers.
    pub const ALL: [TcpOutcome; 6] = {
        use TcpOutcome::*;
        [Closed, Idle, ClientFailed, ServerFailed, Refused, Cut]
    };

    /// Its name in metrics and logs.
    pub fn word(self) -> &'static str {
        match self {
            TcpOutcome::Closed => "closed",
            TcpOutcome::Idle => "idle",
            TcpOutcome::ClientFailed => "client-failed",
            TcpOutcome::ServerFailed => "server-failed",
            TcpOutcome::Refused => "refused",
            TcpOutcome::Cut => "cut",
        }
    }
}

/// Why a connection of a trusted peer was refused that had to begin with a PROXY protocol header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderFailure {
    /// It begins with something else.
    Missing,
    /// The header breaks the rules, or its checksum is wrong.
    Malformed,
    /// The header did not come in time.
    Timeout,
    /// The peer left in the middle of it.
    Truncated,
}

impl HeaderFailure {
    /// All of them, in the order of their numbers.
    pub const ALL: [HeaderFailure; 4] = {
        use HeaderFailure::*;
        [Missing, Malformed, Timeout, Truncated]
    };

    /// Its name in metrics and logs.
    pub fn word(self) -> &'static str {
        match self {
            HeaderFailure::Missing => "missing",
            HeaderFailure::Malformed => "malformed",
            HeaderFailure::Timeout => "timeout",
            HeaderFailure::Truncated => "truncated",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_counted_by_their_number() {
        for (number, outcome) in TcpOutcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, number);
        }
        for (number, failure) in HeaderFailure::ALL.into_iter().enumerate() {
            assert_eq!(failure as usize, number);
        }
    }
}
