//! What the application is told of the answers it did not give: `report` of `[[route]]`.

use std::time::Duration;

use super::health::{HOST, TARGET};
use super::{GIB, KIB, MIB, SHORTEST, UPSTREAM};
use crate::plan::Secret;
use crate::rules::{Parsed, Password, Size, Time};
use crate::section::section;
use crate::text::Text;

section! {
    /// Tells an application of all answers to the clients of a route, those that came out of the
    /// cache too, so that what it counts is whole. Answers are events, which are posted in batches;
    /// requests that are forwarded say that they are reported, so that the application does not
    /// count them itself.
    ReportEntry {
        /// The upstream that is told. Without it, the one that the route forwards to.
        optional "to" to: Text, UPSTREAM;
        /// Where batches are posted to.
        required "path" path: Box<str>, PATH;
        /// The host that is asked for. Without it, the server's address.
        optional "host" host: Box<str>, HOST;
        /// The value of `Authorization` that the application knows Seawall by.
        optional "authorization" authorization: Secret, AUTHORIZATION;
        /// How often events are posted, earlier when there are 4 MiB of them. Workers collect
        /// them for up to half a second before that.
        default "every" every: Duration = Duration::from_secs(1), Time(Duration::from_millis(100), Duration::from_secs(60 * 60));
        /// Patience with one batch. After that it is posted once more, under the same number.
        default "timeout" timeout: Duration = Duration::from_secs(10), Time(SHORTEST, Duration::from_secs(60 * 60));
        /// Memory of the node for events that wait, those of this route alone. When it is full the
        /// oldest are dropped. A batch is at most half of it, and at most 4 MiB.
        default "buffer" buffer: u64 = 8 * MIB, Size(256 * KIB, GIB);
    }
}

const PATH: Parsed<Box<str>> = Parsed { example: "/api/clicks", ..TARGET };

const AUTHORIZATION: Password = Password {
    what: "the value of `authorization`",
    least: 1,
    printable: true,
    spaced: true,
    example: "Bearer ${REPORT_TOKEN}",
    limits: "visible ASCII, with spaces inside",
};
