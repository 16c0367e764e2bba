//! How links are clicked: over time, by whom, from where.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::{RawQuery, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::links::Named;
use super::top::{self, TopView};
use crate::auth::{Actor, Scope};
use crate::clicks::detail::By;
use crate::clicks::stats::{Stats, StatsQuery};
use crate::clicks::unit::Unit;
use crate::instant;
use crate::link::{Code, Millis};
use crate::problem::{Invalid, Problem, Shown};
use crate::store::system_clock;

/// Values that are listed of each kind; the rest are one.
const MOST_VALUES: usize = 100;

/// How a link, or all links together, were clicked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Stats)]
pub struct StatsView {
    /// The link; `null`: all links together.
    #[schema(required)]
    pub code: Option<String>,
    /// When the first count begins.
    #[schema(format = DateTime)]
    pub from: String,
    /// When the last count ends.
    #[schema(format = DateTime)]
    pub to: String,
    /// Of what each count is: `minute`, `hour` or `day`.
    pub by: String,
    /// Clicks of people in this time.
    pub clicks: i64,
    /// Clicks of bots in this time.
    pub bots: i64,
    /// Different visitors of each day that this time is in (UTC), summed up: whoever comes on two
    /// days is two. An estimate, with a standard error of 1.6 % for each day.
    pub visitors: u64,
    /// Clicks over time, without gaps.
    pub series: Vec<PointView>,
    /// Of the whole days that this time is in: clicks by the host of the page that the link was
    /// on. Empty: not known, or none; `*`: all further ones.
    pub referrers: Vec<ValueView>,
    /// By country, two letters of ISO 3166-1. Empty: not known.
    pub countries: Vec<ValueView>,
    /// By `desktop`, `mobile`, `tablet`, `other`.
    pub devices: Vec<ValueView>,
    /// By browser.
    pub browsers: Vec<ValueView>,
    /// Clicks of bots, by bot.
    pub bots_by_name: Vec<ValueView>,
    /// Of all links together: at most ten that were clicked most on these days. A link with more
    /// than 0.4 % of the clicks of each day is found for certain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    pub links: Option<Vec<TopView>>,
}

/// A count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Point)]
pub struct PointView {
    /// When it begins.
    #[schema(format = DateTime)]
    pub at: String,
    /// Clicks of people.
    pub clicks: i64,
    /// Clicks of bots.
    pub bots: i64,
    /// Different visitors, if it is a day.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    pub visitors: Option<u64>,
}

/// How often something was so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Value)]
pub struct ValueView {
    /// What.
    pub value: String,
    /// Clicks.
    pub clicks: u64,
}

/// Read how a link was clicked
///
/// Times are of UTC. Clicks are there about a second after they were made. What was clicked before
/// the link was made, under the same code, is not shown.
#[utoipa::path(
    get, path = "/links/{code}/stats", tag = "clicks", operation_id = "readLinkStats",
    params(
        ("code" = String, Path, min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9_-]{1,64}$", description = "What it is called"),
        ("by" = Option<String>, Query, pattern = "^(minute|hour|day)$", description = "Of what each count is. Default `day`"),
        ("from" = Option<String>, Query, format = DateTime, description = "Rounded down to a whole one. Default: 60 minutes, 48 hours or 30 days before `to`"),
        ("to" = Option<String>, Query, format = DateTime, description = "Rounded up to a whole one. Default: now. At most 1,500 minutes, 2,300 hours or 2,000 days after `from`"),
    ),
    responses(
        (status = 200, description = "How it was clicked", body = StatsView),
        (status = 400, description = "A parameter is wrong", body = Shown, content_type = "application/problem+json"),
        (status = 401, description = "There is no good key", body = Shown, content_type = "application/problem+json"),
        (status = 403, description = "The key has not the scope `stats:read`", body = Shown, content_type = "application/problem+json"),
        (status = 404, description = "There is no such link", body = Shown, content_type = "application/problem+json"),
        (status = 503, description = "The database is not available", body = Shown, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn of_link(
    State(api): State<Arc<Api>>,
    actor: Actor,
    named: Result<Named, Problem>,
    RawQuery(query): RawQuery,
) -> Result<Answer<StatsView>, Problem> {
    actor.may(Scope::StatsRead)?;
    let code = named?.code();
    let asked = read(query.as_deref(), Some(code.clone()), system_clock())?;
    let link = api.links.link(&code).await?.ok_or(Problem::NoLink(code))?;
    // What a link had that had the code before is not this one's.
    let first = asked.unit.floor(link.created).max(asked.from).min(asked.to);
    let within = StatsQuery { from: first, ..asked.clone() };
    let stats = api.store.stats(&within).await?;
    Ok(Answer(view(&asked, &stats)))
}

/// Read how all links were clicked
///
/// As of one link, of all together; of deleted ones too.
#[utoipa::path(
    get, path = "/stats", tag = "clicks", operation_id = "readStats",
    params(
        ("by" = Option<String>, Query, pattern = "^(minute|hour|day)$", description = "Of what each count is. Default `day`"),
        ("from" = Option<String>, Query, format = DateTime, description = "Rounded down to a whole one. Default: 60 minutes, 48 hours or 30 days before `to`"),
        ("to" = Option<String>, Query, format = DateTime, description = "Rounded up to a whole one. Default: now. At most 1,500 minutes, 2,300 hours or 2,000 days after `from`"),
    ),
    responses(
        (status = 200, description = "How they were clicked", body = StatsView),
        (status = 400, description = "A parameter is wrong", body = Shown, content_type = "application/problem+json"),
        (status = 401, description = "There is no good key", body = Shown, content_type = "application/problem+json"),
        (status = 403, description = "The key has not the scope `stats:read`", body = Shown, content_type = "application/problem+json"),
        (status = 503, description = "The database is not available", body = Shown, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn of_all(
    State(api): State<Arc<Api>>,
    actor: Actor,
    RawQuery(query): RawQuery,
) -> Result<Answer<StatsView>, Problem> {
    actor.may(Scope::StatsRead)?;
    let asked = read(query.as_deref(), None, system_clock())?;
    let stats = api.store.stats(&asked).await?;
    let links = top::links(&api, &actor, &asked, &stats).await?;
    Ok(Answer(StatsView { links: Some(links), ..view(&asked, &stats) }))
}

/// Counts that are shown if nobody says from when on, and at most.
fn limits(unit: Unit) -> (i64, i64) {
    match unit {
        Unit::Minute => (60, 1_500),
        Unit::Hour => (48, 2_300),
        Unit::Day => (30, 2_000),
    }
}

/// Times that can be asked for: of the years 1970 to 9999.
const TIMES: std::ops::Range<Millis> = 0..253_402_214_400_000;

fn read(query: Option<&str>, code: Option<Code>, now: Millis) -> Result<StatsQuery, Problem> {
    let mut invalid = Vec::new();
    let (mut unit, mut from, mut to) = (None, None, None);
    for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        // Others may add parameters to follow requests by; they change nothing here.
        let Some(known) = ["by", "from", "to"].into_iter().find(|known| name == *known) else {
            continue;
        };
        let place = if known == "from" { &mut from } else { &mut to };
        let is_twice = if known == "by" { unit.is_some() } else { place.is_some() };
        if is_twice {
            invalid.push(Invalid::parameter(known, "twice", format!("`{known}` comes twice")));
        } else if known == "by" {
            unit = Unit::of(&value);
            if unit.is_none() {
                let detail = "`minute`, `hour` or `day`";
                invalid.push(Invalid::parameter(known, "unit", detail));
            }
        } else {
            *place = instant::parse(&value).filter(|at| TIMES.contains(at));
            if place.is_none() {
                let detail = "a time is like `2027-01-31T12:00:00Z`, from 1970 on";
                invalid.push(Invalid::parameter(known, "time", detail));
            }
        }
    }
    if !invalid.is_empty() {
        return Err(Problem::BadRequest(invalid));
    }
    let unit = unit.unwrap_or(Unit::Day);
    let (usual, most) = limits(unit);
    let up = |at: Millis| unit.floor(at + unit.millis() - 1);
    let to = up(to.unwrap_or(now.clamp(TIMES.start, TIMES.end) + 1));
    let from = from.map_or(to - usual * unit.millis(), |from| unit.floor(from));
    if from >= to {
        let detail = "`from` must be before `to`";
        return Err(Problem::BadRequest(vec![Invalid::parameter("from", "order", detail)]));
    }
    if (to - from) / unit.millis() > most {
        let detail = format!("at most {most} of them from `from` to `to`");
        return Err(Problem::BadRequest(vec![Invalid::parameter("from", "range", detail)]));
    }
    Ok(StatsQuery { code, unit, from, to })
}

fn view(asked: &StatsQuery, stats: &Stats) -> StatsView {
    let visitors = |at: Millis| {
        let day = stats.days.iter().find(|day| day.at == at);
        (asked.unit == Unit::Day).then(|| day.map_or(0, |day| day.visitors))
    };
    let points = stats.filled(asked);
    let series = points.iter().map(|point| PointView {
        at: instant::shown(point.at),
        clicks: point.clicks,
        bots: point.bots,
        visitors: visitors(point.at),
    });
    let values = |by| values(stats.detail.by(by));
    StatsView {
        code: asked.code.as_ref().map(Code::to_string),
        from: instant::shown(asked.from),
        to: instant::shown(asked.to),
        by: asked.unit.name().to_owned(),
        clicks: points.iter().map(|point| point.clicks).sum(),
        bots: points.iter().map(|point| point.bots).sum(),
        visitors: stats.days.iter().map(|day| day.visitors).sum(),
        series: series.collect(),
        referrers: values(By::Referrer),
        countries: values(By::Country),
        devices: values(By::Device),
        browsers: values(By::Browser),
        bots_by_name: values(By::Bot),
        links: None,
    }
}

/// The most frequent first; those that are equally frequent by name.
fn values(counts: &[(Box<str>, u64)]) -> Vec<ValueView> {
    let mut values: Vec<(&str, u64)> =
        counts.iter().map(|(value, clicks)| (&**value, *clicks)).collect();
    let is_rest = |value: &(&str, u64)| value.0 == crate::clicks::detail::REST;
    values.sort_by(|a, b| is_rest(a).cmp(&is_rest(b)).then(b.1.cmp(&a.1)).then(a.0.cmp(b.0)));
    let mut rest = 0;
    if values.last().is_some_and(is_rest) {
        rest = values.pop().map_or(0, |(_, clicks)| clicks);
    }
    rest += values.iter().skip(MOST_VALUES).map(|(_, clicks)| clicks).sum::<u64>();
    values.truncate(MOST_VALUES);
    if rest > 0 {
        values.push((crate::clicks::detail::REST, rest));
    }
    let view = |(value, clicks): (&str, u64)| ValueView { value: value.to_owned(), clicks };
    values.into_iter().map(view).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = 1_795_439_951_123; // 2026-11-23T13:19:11.123Z

    fn asked(query: &str) -> Result<(String, String), Vec<(&'static str, &'static str)>> {
        match read(Some(query), None, NOW) {
            Ok(asked) => Ok((instant::shown(asked.from), instant::shown(asked.to))),
            Err(Problem::BadRequest(invalid)) => {
                Err(invalid.iter().map(|one| (one.parameter.unwrap_or(""), one.code)).collect())
            }
            Err(other) => panic!("{query}: {other:?}"),
        }
    }

    #[test]
    fn ranges_are_whole_and_bounded() {
        for (query, from, to) in [
            ("", "2026-10-25T00:00", "2026-11-24T00:00"),
            ("by=hour", "2026-11-21T14:00", "2026-11-23T14:00"),
            ("by=minute&x=y", "2026-11-23T12:20", "2026-11-23T13:20"),
            (
                "from=2026-11-01T01:00:00Z&to=2026-11-02T00:00:00Z",
                "2026-11-01T00:00",
                "2026-11-02T00:00",
            ),
            (
                "by=hour&from=2026-12-31T23:59:59Z&to=2027-01-01T00:00:01Z",
                "2026-12-31T23:00",
                "2027-01-01T01:00",
            ),
            ("to=2027-01-01T00:00:00%2B01:00", "2026-12-02T00:00", "2027-01-01T00:00"),
        ] {
            let whole = |text: &str| format!("{text}:00.000Z");
            assert_eq!(asked(query), Ok((whole(from), whole(to))), "{query}");
        }
        for (query, wrong) in [
            ("by=week", vec![("by", "unit")]),
            ("from=x&to=-1&by=", vec![("from", "time"), ("to", "time"), ("by", "unit")]),
            ("to=2026-11-01T00:00:00Z&to=2026-11-01T00:00:00Z", vec![("to", "twice")]),
            ("from=2026-11-01T00:00:00Z&to=2026-11-01T00:00:00Z", vec![("from", "order")]),
            ("from=2027-01-01T00:00:00Z", vec![("from", "order")]),
            ("by=minute&from=2026-11-01T00:00:00Z", vec![("from", "range")]),
            ("from=1969-12-31T23:59:59Z", vec![("from", "time")]),
            ("to=9999-12-31T23:59:59Z", vec![("to", "time")]),
        ] {
            assert_eq!(asked(query), Err(wrong), "{query}");
        }
    }

    #[test]
    fn the_most_frequent_come_first_and_the_rest_last() {
        let counts: Vec<(Box<str>, u64)> = (0..150_u64)
            .map(|number| (format!("{number:03}").into(), number % 10))
            .chain([("*".into(), 1_000)])
            .collect();
        let values = values(&counts);
        assert_eq!(values.len(), MOST_VALUES + 1);
        assert_eq!((values[0].value.as_str(), values[0].clicks), ("009", 9));
        assert!(values.windows(2).take(MOST_VALUES - 1).all(|two| two[0].clicks >= two[1].clicks));
        assert_eq!(values[MOST_VALUES].value, "*");
        let sum: u64 = values.iter().map(|value| value.clicks).sum();
        assert_eq!(sum, 15 * 45 + 1_000);
    }
}
