//! What the admin API does with the cache: its words made those of the door, and back.

use std::sync::Arc;

use seawall_admin::cache::warm::Warming;
use seawall_admin::cache::{Cache, Doing, Explain, Fleet, Purge, Push, Target};
use seawall_admin::{Refused, view};
use seawall_http::door::cache::{self as door, CacheError, CacheHandle, Others};
use seawall_telemetry::Metrics;

/// The part of the API that is about the cache.
pub(crate) fn api(cache: &CacheHandle, metrics: &Arc<Metrics>) -> Cache {
    let (purged, topped) = (cache.clone(), cache.clone());
    let (explained, pushed) = (cache.clone(), cache.clone());
    Cache {
        metrics: metrics.clone(),
        purge: Arc::new(move |order| purge(purged.clone(), order)),
        top: Arc::new(move |count| top(topped.clone(), count)),
        explain: Arc::new(move |ask| explain(explained.clone(), ask)),
        push: Arc::new(move |answer| {
            let pushed = push(&pushed, answer);
            Box::pin(async { pushed })
        }),
        warming: Warming::default(),
    }
}

fn purge(cache: CacheHandle, order: Purge) -> Doing<Fleet> {
    Box::pin(async move {
        let target = |target: Target| match target {
            Target::Url(url) => door::Target::Url(url.to_string()),
            Target::Tag(tag) => door::Target::Tag(tag),
            Target::Prefix(url) => door::Target::Prefix(url.to_string()),
            Target::Host(host) => door::Target::Host(host),
            Target::Everything => door::Target::Everything,
        };
        let targets: Vec<_> = order.targets.into_iter().map(target).collect();
        let others = cache.purge(&targets, order.hard).await.map_err(refused)?;
        tracing::info!(targets = targets.len(), hard = order.hard, "cache purged");
        Ok(match others {
            Others::None => Fleet::Alone,
            Others::Told => Fleet::Told,
            Others::Later => Fleet::Away,
        })
    })
}

/// Looks at all that is stored, which takes a while if that is much, and holds nobody up.
fn top(cache: CacheHandle, count: usize) -> Doing<view::CacheTop> {
    Box::pin(async move {
        let top = tokio::task::spawn_blocking(move || cache.top(count)).await;
        let top = top.map_err(|error| Refused::Failed { detail: error.to_string() })?;
        let door::Top { keys, tags } = top.map_err(refused)?;
        let key = |door::TopKey { key, uses, bytes }| view::CacheKey { key, uses, bytes };
        let tag = |door::TopTag { tag, uses }| view::CacheTag { tag, uses };
        Ok(view::CacheTop {
            keys: keys.into_iter().map(key).collect(),
            tags: tags.into_iter().map(tag).collect(),
        })
    })
}

fn explain(cache: CacheHandle, ask: Explain) -> Doing<view::Explained> {
    Box::pin(async move { explained(&cache, ask).await })
}

async fn explained(cache: &CacheHandle, ask: Explain) -> Result<view::Explained, Refused> {
    let url = ask.url.to_string();
    let question = door::Question { head: ask.head, url: url.clone(), fields: ask.fields };
    let explanation = cache.explain(&question).await.map_err(refused)?;
    let step = |door::Step { step, found, because }| view::Step {
        step,
        found,
        because: because.map(str::to_owned),
    };
    Ok(view::Explained {
        url,
        route: explanation.route.map(|route| route.to_string()),
        key: explanation.key,
        outcome: explanation.outcome,
        steps: explanation.steps.into_iter().map(step).collect(),
    })
}

fn push(cache: &CacheHandle, answer: Push) -> Result<view::Pushed, Refused> {
    let Push { url, request, status, fields, body } = answer;
    let answer = door::Push { url: url.to_string(), request, status, fields, body };
    let door::Pushed { key, stored } = cache.push(&answer).map_err(refused)?;
    Ok(view::Pushed {
        stored: stored.is_ok(),
        key: Some(key),
        fresh_seconds: stored.ok(),
        reason: stored.err(),
    })
}

fn refused(error: CacheError) -> Refused {
    let detail = error.to_string();
    match error {
        CacheError::None | CacheError::NotCached { .. } => {
            Refused::Conflict { detail, help: "add `cache` to the route".to_owned() }
        }
        CacheError::NoRoute(_) => {
            Refused::Conflict { detail, help: "`GET /api/plan` tells what routes take".to_owned() }
        }
        CacheError::Bypassed(_) => Refused::Conflict {
            detail,
            help: "see `bypass` of its `cache`, and the fields of the request".to_owned(),
        },
        CacheError::Url { .. } | CacheError::Prefix(_) | CacheError::Request(_) => {
            Refused::Wrong { detail, problems: Vec::new() }
        }
    }
}
