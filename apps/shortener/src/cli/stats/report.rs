//! A report of clicks, for people. Pure.

use std::fmt::Write;

use crate::api::{StatsView, TopView, ValueView};
use crate::cli::terminal::shown;

/// What stands for all further values.
const REST: &str = "*";

/// The whole text, of each list so many values at most.
pub(super) fn text(stats: &StatsView, top: usize) -> String {
    let mut out = String::new();
    let is_by_day = stats.by == "day";
    let what = stats.code.as_deref().unwrap_or("all links");
    let (from, to) = (moment(&stats.from, false), moment(&stats.to, false));
    line(&mut out, &format!("{}, from {from} until {to} (UTC)\n", shown(what)));
    row(&mut out, stats.clicks, "clicks");
    row(&mut out, stats.bots, "clicks of bots");
    if is_by_day {
        row(&mut out, stats.visitors, "visitors of each day, summed up, about");
    }
    series(&mut out, stats, is_by_day);
    if !is_by_day {
        line(&mut out, "\nof the whole days that this time is in (UTC):\n");
        row(&mut out, stats.visitors, "visitors of each day, summed up, about");
    }
    for (name, values, unknown) in [
        ("referrers", &stats.referrers, "(none, or not known)"),
        ("countries", &stats.countries, "(not known)"),
        ("devices", &stats.devices, "(not known)"),
        ("browsers", &stats.browsers, "(not known)"),
        ("bots", &stats.bots_by_name, "(not known)"),
    ] {
        list(&mut out, name, values, unknown, top);
    }
    links(&mut out, stats.links.as_deref().unwrap_or_default(), top);
    out
}

/// Counts over time, without those that are 0.
fn series(out: &mut String, stats: &StatsView, is_by_day: bool) {
    let points = stats.series.iter().filter(|point| point.clicks > 0 || point.bots > 0);
    let mut points = points.peekable();
    if points.peek().is_none() {
        return;
    }
    let visitors = if is_by_day { "  visitors" } else { "" };
    line(out, &format!("\n{:>10}  {:>10}{visitors}  {} (UTC)", "clicks", "bots", shown(&stats.by)));
    for point in points {
        let visitors = match point.visitors {
            Some(visitors) if is_by_day => format!("  {visitors:>8}"),
            _ => String::new(),
        };
        let at = moment(&point.at, is_by_day);
        line(out, &format!("{:>10}  {:>10}{visitors}  {at}", point.clicks, point.bots));
    }
}

fn list(out: &mut String, name: &str, values: &[ValueView], unknown: &str, top: usize) {
    if values.is_empty() {
        return;
    }
    line(out, &format!("\n{name}"));
    let is_rest = |value: &&ValueView| value.value == REST;
    let named = values.iter().filter(|value| !is_rest(value));
    for ValueView { value, clicks } in named.clone().take(top) {
        row(out, clicks, if value.is_empty() { unknown } else { value });
    }
    let rest = named.skip(top).chain(values.iter().filter(is_rest));
    let rest = rest.fold(0_u64, |sum, value| sum.saturating_add(value.clicks));
    if rest > 0 {
        row(out, rest, "(all others)");
    }
}

fn links(out: &mut String, links: &[TopView], top: usize) {
    if links.is_empty() {
        return;
    }
    line(out, "\nlinks that were clicked most");
    for link in links.iter().take(top) {
        let about = link.title.as_deref().or(link.target.as_deref()).unwrap_or_default();
        row(out, link.clicks, &format!("{}  {about}", link.short_url));
    }
}

/// A number and what it is of. What it is of comes from strangers.
fn row(out: &mut String, number: impl std::fmt::Display, what: &str) {
    line(out, format!("{number:>10}  {}", shown(what)).trim_end());
}

fn line(out: &mut String, text: &str) {
    writeln!(out, "{text}").expect("strings can be written to");
}

/// A day, or the minute of a moment.
fn moment(at: &str, is_day: bool) -> String {
    shown(at).chars().take(if is_day { 10 } else { 16 }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn stats(more: &Value) -> StatsView {
        let mut stats = json!({
            "code": "spring", "from": "2026-11-22T00:00:00.000Z", "to": "2026-11-24T00:00:00.000Z",
            "by": "day", "clicks": 5, "bots": 2, "visitors": 3,
            "series": [
                { "at": "2026-11-22T00:00:00.000Z", "clicks": 0, "bots": 0, "visitors": 0 },
                { "at": "2026-11-23T00:00:00.000Z", "clicks": 5, "bots": 2, "visitors": 3 },
            ],
            "referrers": [
                { "value": "", "clicks": 3 }, { "value": "\u{1b}]0;x\u{7}", "clicks": 2 },
                { "value": "c.example", "clicks": 1 }, { "value": "*", "clicks": 4 },
            ],
            "countries": [], "devices": [], "browsers": [],
            "bots_by_name": [{ "value": "curl", "clicks": 2 }],
        });
        for (name, value) in more.as_object().expect("an object") {
            stats[name] = value.clone();
        }
        serde_json::from_value(stats).expect("a report")
    }

    #[test]
    fn a_report_is_read_from_its_first_line_to_its_last() {
        assert_eq!(
            text(&stats(&json!({})), 2),
            "\
spring, from 2026-11-22T00:00 until 2026-11-24T00:00 (UTC)

         5  clicks
         2  clicks of bots
         3  visitors of each day, summed up, about

    clicks        bots  visitors  day (UTC)
         5           2         3  2026-11-23

referrers
         3  (none, or not known)
         2  \\u{1b}]0;x\\u{7}
         5  (all others)

bots
         2  curl
"
        );
    }

    #[test]
    fn what_is_of_whole_days_is_told_apart() {
        let series = json!([{ "at": "2026-11-23T13:20:00.000Z", "clicks": 1, "bots": 0 }]);
        let links = json!([{ "code": "a", "short_url": "https://sn.ip/a", "clicks": 9,
            "target": "https://a.example/", "title": null }]);
        let more = json!({ "code": null, "by": "minute", "from": "2026-11-23T13:00:00.000Z",
            "series": series, "referrers": [], "links": links });
        assert_eq!(
            text(&stats(&more), 10),
            "\
all links, from 2026-11-23T13:00 until 2026-11-24T00:00 (UTC)

         5  clicks
         2  clicks of bots

    clicks        bots  minute (UTC)
         1           0  2026-11-23T13:20

of the whole days that this time is in (UTC):

         3  visitors of each day, summed up, about

bots
         2  curl

links that were clicked most
         9  https://sn.ip/a  https://a.example/
"
        );
    }
}
