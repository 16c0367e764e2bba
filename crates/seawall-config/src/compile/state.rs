//! `[state]` and `[cache]` of the plan: what routes have in common.

use super::small;
use crate::config::Config;
use crate::plan::{CacheDisk, CacheStore, State, WithoutState};
use crate::read::Given;
use crate::report::Report;
use crate::units::show_size;

pub(super) fn state(config: &Config, report: &mut Report) -> State {
    let state = &config.state;
    if state.prefix.given && !state.redis.is_there() {
        let help = "add `redis`, or take `prefix` away";
        let message = "`prefix` means nothing without `redis`";
        report.warning(state.prefix.span, message, Some(help.to_owned()));
    }
    State {
        redis: state.redis.value().map(|at| at.value.clone()),
        prefix: state.prefix.value.as_str().into(),
    }
}

pub(super) fn store(config: &Config, report: &mut Report) -> CacheStore {
    let cache = &config.cache;
    let without = &cache.without_state;
    if without.value == WithoutState::Validate && matches!(config.state.redis, Given::Absent) {
        let help = "add for example:\n[state]\nredis = \"redis://127.0.0.1:6379\"";
        let message = "there is no shared state that could be away";
        report.warning(without.span, message, Some(help.to_owned()));
    }
    if let Some(disk) = cache.disk.value()
        && disk.size.value <= cache.memory.value
    {
        let message = format!(
            "the disk holds no more than memory does, which is {}",
            show_size(cache.memory.value)
        );
        let help = "write a larger `size`, or take `disk` away";
        report.warning(disk.size.span, message, Some(help.to_owned()));
    }
    CacheStore {
        memory: cache.memory.value,
        disk: cache.disk.value().map(|disk| CacheDisk {
            path: disk.path.value.value.as_str().into(),
            size: disk.size.value,
        }),
        variants: small(cache.variants.value),
        without_state: without.value,
    }
}

/// Bytes of the tier that holds more.
pub(super) fn largest_tier(config: &Config) -> u64 {
    let disk = config.cache.disk.value().map_or(0, |disk| disk.size.value);
    disk.max(config.cache.memory.value)
}
