//! Links as the API shows them. Inner types are never written as JSON themselves.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::instant;
use crate::link::Link;
use crate::target;

/// A link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Link)]
pub struct LinkView {
    /// What it is called.
    #[schema(pattern = "^[A-Za-z0-9_-]{1,64}$", example = "aZ3kQ9x")]
    pub code: String,
    /// The short link itself.
    #[schema(format = "uri", example = "https://sn.ip/aZ3kQ9x")]
    pub short_url: String,
    /// Where it leads.
    #[schema(format = "uri", example = "https://example.com/page")]
    pub target: String,
    /// With what status it redirects.
    #[schema(example = 302)]
    pub status: u16,
    /// Whether the query of whoever follows it is sent on: its parameters take the place of those of
    /// the same name in the target, or come behind them.
    #[serde(default)]
    #[schema(required)]
    pub forward_query: bool,
    /// What people call it.
    #[schema(required)]
    pub title: Option<String>,
    /// By what people find it. Sorted, each once.
    pub tags: Vec<String>,
    /// From when on it leads nowhere.
    #[schema(required, format = DateTime)]
    pub expires: Option<String>,
    /// Clicks that are left, if they are limited.
    #[schema(required)]
    pub clicks_left: Option<i64>,
    /// Whether it asks for a password.
    pub protected: bool,
    /// It leads nowhere until it is enabled again.
    pub disabled: bool,
    /// When it was made.
    #[schema(format = DateTime)]
    pub created: String,
    /// When it was changed last.
    #[schema(format = DateTime)]
    pub updated: String,
    /// Grows by one with each change; also its `ETag`.
    pub version: i64,
    /// What people should know about the target.
    pub warnings: Vec<WarningView>,
    /// In a list that was asked for them: clicks of people in 30 days, of which today is the last
    /// one (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub recent_clicks: Option<u64>,
}

/// Something odd about a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Warning)]
pub struct WarningView {
    /// A word for programs: `confusable-host`, `mixed-scripts`, `private-address`, `expired`.
    pub code: String,
    /// A sentence for people.
    pub detail: String,
}

impl LinkView {
    /// A link, with what short links begin with, and what time it is.
    pub(super) fn of(link: &Link, url: &str, now: i64) -> LinkView {
        let mut warnings: Vec<_> = target::warnings_of(&link.target)
            .iter()
            .map(|warning| WarningView { code: warning.code().into(), detail: warning.detail() })
            .collect();
        if link.expires.is_some_and(|expires| expires <= now) {
            let detail = "the link is expired: it leads nowhere".into();
            warnings.push(WarningView { code: "expired".into(), detail });
        }
        LinkView {
            code: link.code.to_string(),
            short_url: format!("{url}/{}", link.code),
            target: link.target.to_string(),
            status: link.redirect.status(),
            forward_query: link.forward_query,
            title: link.title.as_deref().map(str::to_owned),
            tags: link.tags.iter().map(|tag| tag.to_string()).collect(),
            expires: link.expires.map(instant::shown),
            clicks_left: link.clicks_left,
            protected: link.password.is_some(),
            disabled: link.disabled,
            created: instant::shown(link.created),
            updated: instant::shown(link.updated),
            version: link.version,
            warnings,
            recent_clicks: None,
        }
    }
}
