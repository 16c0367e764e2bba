//! What takes the place of a failed answer: `fallback` of `[[route]]`.

use super::route::{MEDIA_TYPE, RespondWith, error_match};
use super::{UPSTREAM, file};
use crate::plan::ErrorMatch;
use crate::read::At;
use crate::rules::{Fault, Integer, OneOrMany, Parsed, Short, Table};
use crate::section::section;
use crate::text::Text;

section! {
    /// What takes the place of a refusal, or of a failed answer of a server. Entries are tried in
    /// order: the first that fits and can be had is given, else the failure as it is. Each has
    /// exactly one of `to`, `respond` and `file`.
    FallbackEntry {
        /// For which failures: a status such as `"503"`, a class, `"4xx"` or `"5xx"`, a refusal code
        /// such as `"connect-failed"`, or a list of these. Statuses and classes are those of
        /// servers and of refusals alike. Without it, `"5xx"`.
        optional "on" on: Vec<At<ErrorMatch>>, ON;
        /// The answer of another upstream, for requests that can be sent again, unless that is a 5xx,
        /// too.
        optional "to" to: Text, UPSTREAM;
        /// What Seawall answers itself, as `respond` of the route; the status is 503 unless it is
        /// given.
        optional "respond" respond: RespondWith, Short::<RespondWith>::new("body", "`respond`");
        /// The content of a file of 1 byte to 1 MiB, which is read when the configuration is. Its
        /// path is relative to the folder of the configuration file.
        optional "file" file: Text, FILE;
        /// With `file`: the media type. Without it, what the name of the file says: `.html`,
        /// `.txt`, `.json`, `.xml`, `.svg`, `.css`, `.js`.
        optional "type" content_type: Box<str>, MEDIA_TYPE;
        /// With `file`: the status code.
        default "status" status: u64 = 503, Integer(200, 599);
    }
}

pub(super) const FALLBACK: OneOrMany<Table<FallbackEntry>> =
    OneOrMany(Table::new("an entry of `fallback`"), 16);

const FILE: Parsed<Text> =
    Parsed { kind: "the path of a file", example: "sorry.html", limits: "", parse: file };

const ON: OneOrMany<Parsed<ErrorMatch>> = OneOrMany(
    Parsed {
        kind: "a status, `4xx`, `5xx` or a refusal code",
        example: "5xx",
        limits: "",
        parse: |text| {
            error_match(&text.value).map_err(|(message, help)| match text.is_from_environment() {
                true => Fault::whole(text, format!("{} is no kind of refusal", text.shown()), help),
                false => Fault::whole(text, message, help),
            })
        },
    },
    64,
);
