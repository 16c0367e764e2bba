//! Which links were clicked most, in a time.
//!
//! The days say which these may be (`clicks/leaders.rs`); how often each was clicked is then read
//! for these few. So it costs the same however many links there are.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use crate::auth::{Actor, Scope};
use crate::clicks::stats::{Stats, StatsQuery};
use crate::clicks::unit::Unit;
use crate::link::Code;
use crate::problem::Problem;
use crate::store::Read;

/// Links that are shown.
const SHOWN: usize = 10;

/// Links whose clicks are read to find them.
const CANDIDATES: usize = 30;

/// A link among those that were clicked most.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = TopLink)]
pub struct TopView {
    /// What it is called.
    pub code: String,
    /// The short link itself.
    #[schema(format = "uri")]
    pub short_url: String,
    /// Clicks of people, on the whole days.
    pub clicks: u64,
    /// Where it leads; `null` if it is deleted, or the key has not the scope `links:read`.
    #[schema(required, format = "uri")]
    pub target: Option<String>,
    /// What people call it; `null` as `target`.
    #[schema(required)]
    pub title: Option<String>,
}

/// The links that were clicked most, the first one first.
pub(super) async fn links(
    api: &Api,
    actor: &Actor,
    asked: &StatsQuery,
    stats: &Stats,
) -> Result<Vec<TopView>, Problem> {
    let mut tops = Vec::with_capacity(CANDIDATES);
    let mut since = Vec::with_capacity(CANDIDATES);
    let from = Unit::Day.floor(asked.from);
    for code in stats.detail.leaders().first(CANDIDATES) {
        let Ok(code) = Code::new(code) else { continue };
        let link = api.store.link(&code, Read::Any).await?;
        // What a link had that had the code before is not this one's.
        since.push((code.clone(), link.as_ref().map_or(from, |link| link.created.max(from))));
        let shown = link.filter(|_| actor.may(Scope::LinksRead).is_ok());
        tops.push(TopView {
            short_url: format!("{}/{code}", api.url),
            code: code.into(),
            clicks: 0,
            target: shown.as_ref().map(|link| link.target.to_string()),
            title: shown.and_then(|link| link.title).map(String::from),
        });
    }
    let counts = api.store.clicks_since(&since, asked.to).await?;
    for (top, clicks) in tops.iter_mut().zip(counts) {
        top.clicks = clicks;
    }
    tops.retain(|top| top.clicks > 0);
    tops.sort_by(|one, other| other.clicks.cmp(&one.clicks).then(one.code.cmp(&other.code)));
    tops.truncate(SHOWN);
    Ok(tops)
}
