//! `snip stats`: how a link, or all links together, were clicked.

mod report;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::ValueEnum;
use url::form_urlencoded::Serializer;

use super::client::Access;
use super::named::Named;
use super::{terminal, when};
use crate::api::StatsView;
use crate::clicks::unit::Unit;
use crate::instant;
use crate::link::Millis;
use crate::store::system_clock;

/// Show how a link, or all links together, were clicked.
#[derive(Debug, clap::Args)]
pub(super) struct Stats {
    /// Its code, or the whole short link; without one, all links together
    #[arg(value_name = "CODE", value_parser = Named::read)]
    link: Option<Named>,
    /// The time up to now [default: month]
    #[arg(long, value_enum, conflicts_with_all = ["from", "to"])]
    range: Option<Range>,
    /// From when on: `2026-11-01T12:00:00Z`, or `2026-11-01` (from the beginning of that day, UTC)
    #[arg(long, value_name = "TIME", value_parser = when::from)]
    from: Option<Millis>,
    /// Until when, as --from; a day is in it as a whole [default: now]
    #[arg(long, value_name = "TIME", value_parser = when::to)]
    to: Option<Millis>,
    /// Of what each count is [default: minute for an hour, hour for a day, else day]
    #[arg(long, value_enum)]
    by: Option<By>,
    /// So many of the referrers, countries, … at most; the rest are summed up
    #[arg(long, value_name = "NUMBER", default_value_t = 10)]
    top: usize,
    /// As JSON, as the API has it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    access: Access,
}

/// A time up to now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Range {
    /// 60 minutes
    Hour,
    /// 24 hours
    Day,
    /// 7 days, of which today is the last (UTC)
    Week,
    /// 30 days
    Month,
    /// 365 days
    Year,
}

/// Of what each count is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    /// Minutes
    Minute,
    /// Hours
    Hour,
    /// Days (UTC)
    Day,
}

impl Stats {
    /// Prints how it was clicked.
    ///
    /// # Errors
    /// When there is no such link, or the shortener cannot be asked.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let query = self.query(system_clock());
        let server = self.access.server()?;
        let stats: StatsView = match &self.link {
            Some(link) => server.read(&format!("/links/{}/stats?{query}", link.code(&server)?))?,
            None => server.read(&format!("/stats?{query}"))?,
        };
        let text = match self.json {
            true => terminal::json(&stats)? + "\n",
            false => report::text(&stats, self.top),
        };
        io::stdout().write_all(text.as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }

    fn query(&self, now: Millis) -> String {
        let unit = match (self.by, self.range) {
            (Some(By::Minute), _) | (None, Some(Range::Hour)) => Unit::Minute,
            (Some(By::Hour), _) | (None, Some(Range::Day)) => Unit::Hour,
            _ => Unit::Day,
        };
        let from = match self.range {
            // So many counts, the last of which is not over yet.
            Some(range) => Some(unit.floor(now) + unit.millis() - range.millis()),
            None => self.from,
        };
        let mut query = Serializer::new(String::new());
        query.append_pair("by", unit.name());
        for (name, at) in [("from", from), ("to", self.to)] {
            if let Some(at) = at {
                query.append_pair(name, &instant::shown(at));
            }
        }
        query.finish()
    }
}

impl Range {
    fn millis(self) -> Millis {
        let day = Unit::Day.millis();
        match self {
            Range::Hour => Unit::Hour.millis(),
            Range::Day => day,
            Range::Week => 7 * day,
            Range::Month => 30 * day,
            Range::Year => 365 * day,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        stats: Stats,
    }

    #[test]
    fn ranges_end_with_what_is_not_over_yet() {
        const NOW: Millis = 1_795_439_951_123; // 2026-11-23T13:19:11.123Z
        for (line, expect) in [
            ("", "by=day"),
            ("--range hour", "by=minute&from=2026-11-23T12:20"),
            ("--range day", "by=hour&from=2026-11-22T14:00"),
            ("--range week", "by=day&from=2026-11-17T00:00"),
            ("--range month", "by=day&from=2026-10-25T00:00"),
            ("--range year", "by=day&from=2025-11-24T00:00"),
            ("--range week --by hour", "by=hour&from=2026-11-16T14:00"),
            (
                "abc --from 2026-11-01 --to 2026-11-02",
                "by=day&from=2026-11-01T00:00&to=2026-11-03T00:00",
            ),
        ] {
            let line = ["stats"].into_iter().chain(line.split_whitespace());
            let stats = Line::try_parse_from(line.clone()).expect("a command line").stats;
            let query = stats.query(NOW).replace("%3A", ":").replace(":00.000Z", "");
            assert_eq!(query, expect, "{line:?}");
        }
        let both = ["stats", "--range", "day", "--to", "2026-11-01"];
        assert!(Line::try_parse_from(both).is_err());
    }
}
