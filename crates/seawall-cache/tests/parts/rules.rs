//! Rules of a route.

use std::time::Duration;

use seawall_config::plan;

/// Rules that follow the origin alone, as `cache = {}`.
pub(crate) fn rules() -> plan::Cache {
    plan::Cache {
        ttl: None,
        force: None,
        negative_ttl: None,
        browser_ttl: None,
        stale_while_revalidate: Duration::ZERO,
        stale_if_error: Duration::ZERO,
        jitter: 0,
        early: false,
        key: key_rules(),
        vary: Vec::new(),
        bypass: plan::CacheBypass::default(),
        head: true,
        statuses: Vec::new(),
        max_object: 1 << 30,
        ignore_origin: plan::IgnoreOrigin::default(),
        client_control: true,
        purge: Vec::new(),
        tags: None,
        version: plan::CacheVersion::None,
        coalesce: plan::Coalesce { wait: Duration::ZERO, waiters: 0 },
        parent: None,
        tier: plan::Tier::None,
    }
}

pub(crate) fn key_rules() -> plan::CacheKey {
    plan::CacheKey {
        host: true,
        query: plan::CacheQuery::All,
        sort: false,
        headers: Vec::new(),
        cookies: Vec::new(),
        device: false,
    }
}
