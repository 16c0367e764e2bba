//! How fast a store is, and how large: `cargo run --release -p snip --example store -- URL`.
//!
//! `URL` is that of an empty database, such as `sqlite:/var/tmp/speed.db`. Figures are of this
//! machine and this moment.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use snip::link::{Code, NewLink, Redirect};
use snip::store::{DatabaseConfig, Read, Store};

/// Links that the database has in the end.
const LINKS: usize = 1_000_000;

/// Links of one call.
const BATCH: usize = 1_000;

/// Those who make links one by one, at the same time.
const WRITERS: usize = 64;

/// How long each kind of work goes on.
const TIME: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> Result<()> {
    let url = std::env::args().nth(1).context("the URL of an empty database is missing")?;
    let links: usize = match std::env::args().nth(2) {
        Some(count) => count.parse().context("a number of links")?,
        None => LINKS,
    };
    let store = Store::open(&DatabaseConfig::new(url)).await?;
    let empty = store.size().await?;

    let began = Instant::now();
    let mut codes = Vec::new();
    for batch in 0..links.div_ceil(BATCH) {
        let new = (0..BATCH).map(|number| link(batch * BATCH + number)).collect();
        let created = store.create(new).await?;
        codes.extend(created.into_iter().flatten().map(|link| link.code));
    }
    report("created, 1,000 a call", codes.len(), began);
    let size = store.size().await?;
    println!("{:.0} bytes a link", (size.bytes - empty.bytes) as f64 / codes.len() as f64);

    let began = Instant::now();
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let store = store.clone();
        writers.push(tokio::spawn(async move {
            let mut made = 0;
            while began.elapsed() < TIME {
                store.create(vec![link(writer)]).await?;
                made += 1;
            }
            anyhow::Ok(made)
        }));
    }
    let mut made = 0;
    for writer in writers {
        made += writer.await??;
    }
    report("created, one a call, 64 at once", made, began);

    let began = Instant::now();
    let made = look_up(&store, &codes, began, 1).await?;
    report("looked up, one after another", made, began);
    let began = Instant::now();
    let readers: Vec<_> = (0..WRITERS as u64)
        .map(|reader| {
            let (store, codes) = (store.clone(), codes.clone());
            tokio::spawn(async move { look_up(&store, &codes, began, reader).await })
        })
        .collect();
    let mut made = 0;
    for reader in readers {
        made += reader.await??;
    }
    report("looked up, 64 at once", made, began);
    Ok(())
}

async fn look_up(store: &Store, codes: &[Code], began: Instant, seed: u64) -> Result<usize> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut made = 0;
    while began.elapsed() < TIME {
        let code = &codes[random.usize(..codes.len())];
        store.link(code, Read::Any).await?.context("a link is missing")?;
        made += 1;
        // As if the next came from another connection.
        tokio::task::yield_now().await;
    }
    Ok(made)
}

fn report(what: &str, count: usize, began: Instant) {
    let seconds = began.elapsed().as_secs_f64();
    let (rate, each) = (count as f64 / seconds, seconds * 1e6 / count as f64);
    println!("{what}: {rate:.0}/s, {each:.1} µs each");
}

/// A target of about 60 characters.
fn link(number: usize) -> NewLink {
    NewLink {
        alias: None,
        target: format!("https://www.example.com/articles/2025/some-title-{number:012}").into(),
        redirect: Redirect::Found,
        forward_query: false,
        expires: None,
        clicks_left: None,
        password: None,
        title: None,
        tags: Vec::new(),
        owner: 1,
    }
}
