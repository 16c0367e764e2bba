//! What holds of every store, whatever is behind it. Each case is told a [`Place`] of its own, and
//! asks through one or more instances that know nothing of each other.

use std::future::Future;
use std::pin::Pin;

use snip::link::{Code, Link, Millis, NewLink, Redirect};
use snip::store::{DatabaseConfig, Read, Store, system_clock};

/// An empty database that nobody else uses.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) config: DatabaseConfig,
}

impl Place {
    pub(crate) fn new(url: impl Into<String>) -> Place {
        Place { config: DatabaseConfig::new(url) }
    }

    /// One more instance.
    pub(crate) async fn open(&self) -> Store {
        self.open_at(system_clock).await
    }

    /// One more instance, with another clock.
    async fn open_at(&self, clock: fn() -> Millis) -> Store {
        let config = DatabaseConfig { clock, ..self.config.clone() };
        Store::open(&config).await.expect("it opens")
    }
}

pub(crate) type Case = fn(Place) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// All cases by name; and, for a backend that can afford it, a test of each.
macro_rules! cases {
    ($($name:ident)*) => {
        pub(crate) const CASES: &[(&str, Case)] =
            &[$((stringify!($name), |place| Box::pin($name(place)))),*];

        /// Each case on a file of its own.
        mod on_sqlite {
            use super::Place;

            $(#[test]
            fn $name() {
                let home = tempfile::tempdir().expect("a directory");
                let place = Place::new(format!("sqlite:{}/snip.db", home.path().display()));
                crate::store::block_on(super::$name(place));
            })*
        }
    };
}

// Behind the macro, which they use.
mod changing;
mod following;
mod instances;
mod listing;
mod making;
mod once;

/// All cases, by name.
pub(crate) fn cases() -> impl Iterator<Item = &'static (&'static str, Case)> {
    [
        making::CASES,
        changing::CASES,
        once::CASES,
        listing::CASES,
        following::CASES,
        instances::CASES,
    ]
    .into_iter()
    .flatten()
}

fn code(text: &str) -> Code {
    Code::new(text).expect("a code")
}

pub(crate) fn new(target: &str) -> NewLink {
    NewLink {
        alias: None,
        target: target.into(),
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

pub(crate) fn alias(name: &str) -> NewLink {
    NewLink { alias: Some(code(name)), ..new("https://example.com/") }
}

fn tagged(target: &str, tags: &[&str]) -> NewLink {
    NewLink { tags: tags.iter().map(|tag| (*tag).into()).collect(), ..new(target) }
}

/// Makes links of which none is taken.
async fn make(store: &Store, links: Vec<NewLink>) -> Vec<Link> {
    let created = store.create(links).await.expect("they are made");
    created.into_iter().map(|link| link.expect("not taken")).collect()
}

pub(crate) async fn make_one(store: &Store, link: NewLink) -> Link {
    make(store, vec![link]).await.remove(0)
}

async fn read(store: &Store, code: &Code) -> Option<Link> {
    let latest = store.link(code, Read::Latest).await.expect("it answers");
    assert_eq!(store.link(code, Read::Any).await.expect("it answers"), latest);
    latest
}

/// What all tasks return, in their order.
async fn all<T: Send + 'static>(
    tasks: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let tasks: Vec<_> = tasks.into_iter().map(tokio::spawn).collect();
    let mut results = Vec::new();
    for task in tasks {
        results.push(task.await.expect("it does not panic"));
    }
    results
}
