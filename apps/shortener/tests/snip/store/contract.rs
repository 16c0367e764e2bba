//! What holds of every store, whatever is behind it. Each case is told a [`Place`] of its own, and
//! asks through one or more instances that know nothing of each other.

use std::collections::{BTreeSet, HashSet};
use std::future::Future;
use std::pin::Pin;

use snip::code::Codes;
use snip::link::{Code, Link, LinkPatch, LinkQuery, Millis, NewLink, Order, Redirect};
use snip::store::{
    DatabaseConfig, Deletion, LinkPage, MOST_AT_ONCE, NewKey, Once, REMEMBERED, Read, SEARCHED,
    Store, StoreError, Taken, Update, system_clock,
};

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
            $(#[test]
            fn $name() {
                let home = tempfile::tempdir().expect("a directory");
                let place = super::Place::new(format!("sqlite:{}/snip.db", home.path().display()));
                super::super::block_on(super::$name(place));
            })*
        }
    };
}

cases! {
    a_link_is_read_as_it_was_made
    many_who_look_up_at_once_find_what_is_theirs
    an_alias_is_given_once
    of_many_that_want_an_alias_one_gets_it
    what_is_taken_does_not_keep_the_others_from_being_made
    a_code_that_meets_an_alias_is_passed_over
    nothing_and_too_much_at_once
    a_change_names_what_it_changes
    a_change_expects_a_version
    changes_at_once_are_all_made
    a_clock_that_goes_back_takes_nothing_back
    what_is_deleted_is_gone
    a_creation_is_made_once
    a_creation_is_made_once_however_many_ask_at_once
    a_creation_is_forgotten_after_a_day
    a_limit_of_clicks_is_never_exceeded
    pages_have_every_link_once_while_links_are_made_and_deleted
    links_are_found_by_tag
    links_are_found_by_text
    a_search_is_bounded_and_goes_on
    keys_are_found_by_their_hash_and_revoked
    of_instances_that_start_at_once_one_makes_the_first_key
    changes_are_listed
    who_follows_changes_misses_none
    changes_are_forgotten_though_never_the_last
    codes_of_two_instances_never_meet
    a_secret_is_the_same_for_all_and_for_ever
    many_instances_may_start_at_once
    it_says_how_it_is_and_how_much_it_has
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

async fn a_link_is_read_as_it_was_made(place: Place) {
    let (store, other) = (place.open().await, place.open().await);
    let plain = make_one(&store, new("https://example.com/a?b=c#d")).await;
    assert_eq!(plain.code.as_str().len(), 7);
    let rich = NewLink {
        alias: Some(code("Spring-2025_x")),
        target: "https://example.com/ä?q='%27\"&x=\\".into(),
        redirect: Redirect::PermanentKeeping,
        forward_query: true,
        expires: Some(i64::MAX),
        clicks_left: Some(10),
        password: Some("$argon2id$v=19$m=1,t=1,p=1$c2FsdA$aGFzaA".into()),
        title: Some("A „title“ 🚢; DROP TABLE links".into()),
        tags: vec!["ü".into(), "b\"c".into(), "a,b".into(), "ü".into()],
        owner: i64::MAX,
    };
    let rich = make_one(&store, rich).await;
    assert_eq!(rich.tags, ["a,b", "b\"c", "ü"].map(Box::<str>::from));
    assert_eq!((rich.version, rich.created, rich.disabled), (1, rich.updated, false));
    for link in [plain, rich] {
        assert_eq!(read(&other, &link.code).await.as_ref(), Some(&link));
    }
    for unknown in ["spring-2025_x", "SPRING-2025_X", "Spring-2025_", "0000000", "-"] {
        assert_eq!(read(&store, &code(unknown)).await, None, "{unknown}");
    }
    for redirect in [Redirect::Permanent, Redirect::Found, Redirect::Temporary] {
        let link = make_one(&store, NewLink { redirect, ..new("https://example.com/") }).await;
        assert_eq!(read(&other, &link.code).await.map(|link| link.redirect), Some(redirect));
    }
}

async fn many_who_look_up_at_once_find_what_is_theirs(place: Place) {
    const LINKS: usize = 100;
    let store = place.open().await;
    let targets = (0..LINKS).map(|number| new(&format!("https://example.com/{number}")));
    let made = make(&store, targets.collect()).await;
    // Each of them by several, with codes in between that lead nowhere; some leave at once.
    let look_ups = (0..5 * LINKS).map(|number| {
        let (store, link) = (store.clone(), made[number % LINKS].clone());
        async move {
            let missing = code(&format!("missing-{number}"));
            let mut left = Box::pin(store.link(&link.code, Read::Latest));
            drop(std::future::poll_fn(|cx| std::task::Poll::Ready(left.as_mut().poll(cx))).await);
            drop(left);
            let found = store.link(&link.code, Read::Any).await.expect("it answers");
            assert_eq!(found, Some(link));
            assert_eq!(store.link(&missing, Read::Latest).await.expect("it answers"), None);
        }
    });
    all(look_ups.collect::<Vec<_>>()).await;
}

async fn an_alias_is_given_once(place: Place) {
    let (store, other) = (place.open().await, place.open().await);
    let first = make_one(&store, alias("spring")).await;
    for store in [&store, &other] {
        let again = store.create(vec![alias("spring")]).await.expect("it answers");
        assert_eq!(again, [Err(Taken(code("spring")))]);
    }
    assert_eq!(read(&store, &first.code).await, Some(first));
    make_one(&other, alias("Spring")).await;
}

async fn of_many_that_want_an_alias_one_gets_it(place: Place) {
    let stores = [place.open().await, place.open().await];
    for round in 0..5 {
        let name = format!("wanted-{round}");
        // In opposite orders, with a second one in common: who waits for whom must not be a ring.
        let results = all((0..20).map(|number| {
            let store = stores[number % 2].clone();
            let mut links = vec![alias(&name), alias(&format!("{name}-too")), new("https://x.y/")];
            if number % 3 == 0 {
                links.reverse();
            }
            async move { store.create(links).await.expect("it answers") }
        }))
        .await;
        let won = |name: &str| {
            let links = results.iter().flatten().filter_map(|result| result.as_ref().ok());
            links.filter(|link| link.code.as_str() == name).count()
        };
        assert_eq!((won(&name), won(&format!("{name}-too"))), (1, 1));
        let lost = results.iter().flatten().filter(|result| result.is_err()).count();
        assert_eq!(lost, 38);
    }
}

async fn what_is_taken_does_not_keep_the_others_from_being_made(place: Place) {
    let store = place.open().await;
    make(&store, vec![alias("a"), alias("b")]).await;
    let links = vec![
        new("https://example.com/1"),
        alias("b"),
        alias("c"),
        new("https://example.com/2"),
        alias("c"),
        alias("a"),
    ];
    let created = store.create(links).await.expect("it answers");
    let taken: Vec<_> = created.iter().map(|result| result.as_ref().err().cloned()).collect();
    let of = |name| Some(Taken(code(name)));
    assert_eq!(taken, [None, of("b"), None, None, of("c"), of("a")]);
    for link in created.into_iter().flatten() {
        assert_eq!(read(&store, &link.code).await, Some(link));
    }
}

async fn a_code_that_meets_an_alias_is_passed_over(place: Place) {
    let store = place.open().await;
    let codes = Codes::new(&store.secret("codes").await.expect("it answers"));
    let of = |id| codes.encode(id).expect("a code");
    // Nobody could guess these; here they are known before they are given.
    for id in [0, 1, 4] {
        make_one(&store, alias(of(id).as_str())).await;
    }
    let targets: Vec<_> = (0..4).map(|number| format!("https://example.com/{number}")).collect();
    let first = make_one(&store, new(&targets[0])).await;
    let others = make(&store, targets[1..].iter().map(|target| new(target)).collect()).await;
    let made: Vec<_> = [first].into_iter().chain(others).collect();
    let different: HashSet<_> = made.iter().map(|link| link.code.clone()).collect();
    assert_eq!(different.len(), 4);
    for (link, target) in made.iter().zip(&targets) {
        assert_eq!(*link.target, **target);
        assert!(codes.decode(&link.code).is_some_and(|id| ![0, 1, 4].contains(&id)));
        assert_eq!(read(&store, &link.code).await.as_ref(), Some(link));
    }
    for id in [0, 1, 4] {
        let link = read(&store, &of(id)).await.expect("it is there");
        assert_eq!((&*link.target, link.version), ("https://example.com/", 1));
    }
}

async fn nothing_and_too_much_at_once(place: Place) {
    let store = place.open().await;
    assert_eq!(store.create(Vec::new()).await, Ok(Vec::new()));
    let many = vec![new("https://example.com/"); MOST_AT_ONCE + 1];
    assert!(matches!(store.create(many).await, Err(StoreError::Refused(_))));
    let none = LinkQuery { limit: 0, ..LinkQuery::default() };
    make_one(&store, alias("a")).await;
    assert_eq!(store.links(&none).await.expect("it answers").links, []);
}

async fn a_change_names_what_it_changes(place: Place) {
    let (store, other) = (place.open().await, place.open().await);
    let made = NewLink { clicks_left: Some(5), ..tagged("https://example.com/", &["a", "b"]) };
    let made = make_one(&store, made).await;
    let change = async |patch: LinkPatch| match store.update(&made.code, &patch, None).await {
        Ok(Update::Done(link)) => {
            assert_eq!(read(&other, &made.code).await.as_ref(), Some(&link));
            link
        }
        answer => panic!("{answer:?}"),
    };
    let target = Some("https://example.org/".into());
    let link = change(LinkPatch { target, ..LinkPatch::default() }).await;
    assert_eq!(
        (&*link.target, link.version, link.clicks_left),
        ("https://example.org/", 2, Some(5))
    );
    assert_eq!((&link.tags, link.created), (&made.tags, made.created));
    let link = change(LinkPatch {
        redirect: Some(Redirect::Permanent),
        forward_query: Some(true),
        expires: Some(Some(9)),
        clicks_left: Some(None),
        password: Some(Some("hash".into())),
        disabled: Some(true),
        title: Some(Some("title".into())),
        tags: Some(vec!["c".into(), "b".into()]),
        ..LinkPatch::default()
    })
    .await;
    let expect = Link {
        target: "https://example.org/".into(),
        redirect: Redirect::Permanent,
        forward_query: true,
        expires: Some(9),
        clicks_left: None,
        password: Some("hash".into()),
        disabled: true,
        title: Some("title".into()),
        tags: vec!["b".into(), "c".into()],
        updated: link.updated,
        version: 3,
        ..made.clone()
    };
    assert_eq!(link, expect);
    let tags = store.tags(10).await.expect("it answers");
    assert_eq!(tags, [("b".into(), 1), ("c".into(), 1)]);
    let link = change(LinkPatch {
        expires: Some(None),
        password: Some(None),
        title: Some(None),
        disabled: Some(false),
        tags: Some(Vec::new()),
        ..LinkPatch::default()
    })
    .await;
    let rest = (link.expires, link.password, link.title, link.disabled, link.tags);
    assert_eq!(rest, (None, None, None, false, Vec::new()));
    assert_eq!(store.tags(10).await, Ok(Vec::new()));
    let answer = store.update(&code("unknown"), &LinkPatch::default(), None).await;
    assert_eq!(answer, Ok(Update::Missing));
}

async fn a_change_expects_a_version(place: Place) {
    let store = place.open().await;
    let link = make_one(&store, alias("a")).await;
    let to = |target: &str| LinkPatch { target: Some(target.into()), ..LinkPatch::default() };
    for wrong in [0, 2, -1] {
        let answer = store.update(&link.code, &to("https://x.y/"), Some(wrong)).await;
        assert_eq!(answer, Ok(Update::Conflict(1)));
    }
    assert_eq!(read(&store, &link.code).await, Some(link.clone()));
    let answer = store.update(&link.code, &to("https://x.y/"), Some(1)).await;
    assert!(matches!(answer, Ok(Update::Done(Link { version: 2, .. }))), "{answer:?}");
    let answer = store.update(&link.code, &to("https://x.z/"), Some(1)).await;
    assert_eq!(answer, Ok(Update::Conflict(2)));
    assert_eq!(&*read(&store, &link.code).await.expect("it is there").target, "https://x.y/");
}

async fn changes_at_once_are_all_made(place: Place) {
    let stores = [place.open().await, place.open().await];
    let link = make_one(&stores[0], alias("a")).await;
    let answers = all((0..20).map(|number: usize| {
        let (store, code) = (stores[number % 2].clone(), link.code.clone());
        let tags = Some(vec![format!("tag-{number}").into()]);
        let patch = LinkPatch { tags, ..LinkPatch::default() };
        async move { store.update(&code, &patch, None).await.expect("it answers") }
    }))
    .await;
    let mut versions = BTreeSet::new();
    for answer in answers {
        let Update::Done(link) = answer else { panic!("{answer:?}") };
        versions.insert(link.version);
    }
    assert!(versions.into_iter().eq(2..=21));
    let tags = read(&stores[1], &link.code).await.expect("it is there").tags;
    let listed = stores[0].tags(10).await.expect("it answers");
    assert_eq!(listed, [(tags[0].clone(), 1)]);

    // Of those who expect the same version, one gets through.
    let answers =
        all(
            (0..20).map(|number: usize| {
                let (store, code) = (stores[number % 2].clone(), link.code.clone());
                async move {
                    store.update(&code, &LinkPatch::default(), Some(21)).await.expect("answers")
                }
            }),
        )
        .await;
    let done = answers.iter().filter(|answer| matches!(answer, Update::Done(_))).count();
    let conflicts = answers.iter().filter(|answer| **answer == Update::Conflict(22)).count();
    assert_eq!((done, conflicts), (1, 19));
}

async fn a_clock_that_goes_back_takes_nothing_back(place: Place) {
    let store = place.open().await;
    let early = place.open_at(|| system_clock() - 60 * 60 * 1000).await;
    let link = make_one(&store, new("https://example.com/")).await;
    let answer = early.update(&link.code, &LinkPatch::default(), Some(1)).await;
    let Ok(Update::Done(changed)) = answer else { panic!("{answer:?}") };
    assert_eq!((changed.created, changed.updated), (link.created, link.updated));
    assert_eq!(changed.version, 2);
    // What is made by then is older, and is listed as such; codes go on.
    let older = make_one(&early, new("https://example.com/")).await;
    assert!(older.created < link.created);
    let page = store.links(&LinkQuery { limit: 10, ..LinkQuery::default() }).await;
    let codes: Vec<_> = page.expect("it answers").links.into_iter().map(|link| link.code).collect();
    assert_eq!(codes, [link.code.clone(), older.code]);
    // Changes go by their numbers.
    let changes = store.changes_after(0, 10).await.expect("it answers").changes;
    early.delete(&link.code, None).await.expect("it answers");
    let last = changes.last().map_or(0, |change| change.seq);
    let after = store.changes_after(last, 10).await.expect("it answers").changes;
    assert_eq!(after.iter().map(|change| &change.code).collect::<Vec<_>>(), [&link.code]);
}

async fn what_is_deleted_is_gone(place: Place) {
    let (store, other) = (place.open().await, place.open().await);
    let link = NewLink { alias: Some(code("a")), ..tagged("https://example.com/", &["t", "u"]) };
    make(&store, vec![link.clone(), tagged("https://example.com/", &["t"])]).await;
    assert_eq!(store.delete(&code("a"), Some(2)).await, Ok(Deletion::Conflict(1)));
    assert!(read(&store, &code("a")).await.is_some(), "it is another version");
    assert_eq!(other.delete(&code("a"), Some(1)).await, Ok(Deletion::Done));
    assert_eq!(store.delete(&code("a"), None).await, Ok(Deletion::Missing));
    assert_eq!(store.delete(&code("a"), Some(1)).await, Ok(Deletion::Missing));
    assert_eq!(read(&store, &code("a")).await, None);
    assert_eq!(store.tags(10).await, Ok(vec![("t".into(), 1)]));
    let again = make_one(&store, link).await;
    assert_eq!(again.version, 1);
    assert_eq!(read(&other, &code("a")).await, Some(again));
}

async fn a_creation_is_made_once(place: Place) {
    let (store, other) = (place.open().await, place.open().await);
    make_one(&store, alias("taken")).await;
    let links = || vec![tagged("https://example.com/", &["t"]), alias("taken"), alias("mine")];
    let Ok(Once::Created(created)) = store.create_once(1, "key", [1; 32], links()).await else {
        panic!("it is made")
    };
    assert_eq!(created[1], Err(Taken(code("taken"))));
    let first = created[0].clone().expect("not taken");
    assert_eq!(read(&store, &first.code).await.as_ref(), Some(&first));
    // As it was made, whatever became of it.
    let patch = LinkPatch { title: Some(Some("new".into())), ..LinkPatch::default() };
    store.update(&first.code, &patch, None).await.expect("it answers");
    for store in [&store, &other] {
        let again = store.create_once(1, "key", [1; 32], links()).await;
        assert_eq!(again, Ok(Once::Replayed(created.clone())));
        let different = store.create_once(1, "key", [2; 32], links()).await;
        assert_eq!(different, Ok(Once::Mismatch));
    }
    // Another key, or the same of somebody else, is another creation.
    for (owner, key) in [(1, "Key"), (2, "key")] {
        let answer = store.create_once(owner, key, [1; 32], vec![new("https://x.y/")]).await;
        assert!(matches!(answer, Ok(Once::Created(_))), "{answer:?}");
    }
    let page = store.links(&LinkQuery { limit: 10, ..LinkQuery::default() }).await;
    assert_eq!(page.expect("it answers").links.len(), 5);
    // What was made under an alias is a change, as ever.
    let changes = store.changes_after(0, 100).await.expect("it answers").changes;
    assert!(changes.iter().any(|change| change.code == code("mine")));
}

async fn a_creation_is_made_once_however_many_ask_at_once(place: Place) {
    let stores = [place.open().await, place.open().await];
    for round in 0..5 {
        let answers = all((0..20).map(|number: usize| {
            let store = stores[number % 2].clone();
            let key = format!("round-{round}");
            async move {
                let links = vec![new("https://example.com/"); 3];
                store.create_once(1, &key, [7; 32], links).await.expect("it answers")
            }
        }))
        .await;
        let created: Vec<_> = answers
            .iter()
            .filter_map(|answer| match answer {
                Once::Created(created) => Some(created),
                _ => None,
            })
            .collect();
        assert_eq!(created.len(), 1);
        for answer in &answers {
            match answer {
                Once::Created(_) | Once::InProgress => {}
                Once::Replayed(replayed) => assert_eq!(replayed, created[0]),
                Once::Mismatch => panic!("all ask for the same"),
            }
        }
    }
    let page = stores[0].links(&LinkQuery { limit: 100, ..LinkQuery::default() }).await;
    assert_eq!(page.expect("it answers").links.len(), 15);
}

async fn a_creation_is_forgotten_after_a_day(place: Place) {
    let links = || vec![new("https://example.com/")];
    let long_ago = place.open_at(|| system_clock() - REMEMBERED - 1_000).await;
    let lately = place.open_at(|| system_clock() - REMEMBERED + 600_000).await;
    let now = place.open().await;
    for (key, store) in [("old", &long_ago), ("older", &long_ago), ("new", &lately)] {
        let answer = store.create_once(1, key, [1; 32], links()).await;
        assert!(matches!(answer, Ok(Once::Created(_))), "{answer:?}");
    }
    let answer = now.create_once(1, "old", [2; 32], links()).await;
    assert!(matches!(answer, Ok(Once::Created(_))), "{answer:?}");
    let answer = now.create_once(1, "new", [1; 32], links()).await;
    assert!(matches!(answer, Ok(Once::Replayed(_))), "{answer:?}");
    assert_eq!(now.forget_once().await, Ok(1));
    assert_eq!(now.forget_once().await, Ok(0));
    let answer = now.create_once(1, "old", [1; 32], links()).await;
    assert_eq!(answer, Ok(Once::Mismatch));
}

async fn a_limit_of_clicks_is_never_exceeded(place: Place) {
    let stores = [place.open().await, place.open().await];
    let limited = NewLink { clicks_left: Some(37), ..alias("limited") };
    let limited = make_one(&stores[0], limited).await;
    let taken = all((0..100).map(|number: usize| {
        let (store, code) = (stores[number % 2].clone(), limited.code.clone());
        async move { store.take_click(&code).await.expect("it answers") }
    }))
    .await;
    let left: BTreeSet<_> = taken.iter().flatten().copied().collect();
    assert_eq!(taken.iter().flatten().count(), 37);
    assert!(left.into_iter().eq(0..37));
    let link = read(&stores[0], &limited.code).await.expect("it is there");
    assert_eq!((link.clicks_left, link.version), (Some(0), 1));
    make_one(&stores[0], alias("unlimited")).await;
    for name in ["limited", "unlimited", "unknown"] {
        assert_eq!(stores[1].take_click(&code(name)).await, Ok(None), "{name}");
    }
    let more = LinkPatch { clicks_left: Some(Some(1)), ..LinkPatch::default() };
    stores[0].update(&limited.code, &more, Some(1)).await.expect("it answers");
    assert_eq!(stores[1].take_click(&limited.code).await, Ok(Some(0)));
}

async fn pages_have_every_link_once_while_links_are_made_and_deleted(place: Place) {
    let (store, other) = (place.open().await, place.open().await);
    // Many of one millisecond: the code decides among them.
    let mut expected = HashSet::new();
    for _ in 0..5 {
        let made = make(&store, vec![tagged("https://example.com/", &["t"]); 50]).await;
        expected.extend(made.into_iter().map(|link| link.code));
    }
    for (tag, order) in [
        (None, Order::Newest),
        (Some("t".to_owned()), Order::Newest),
        (None, Order::Oldest),
        (Some("t".to_owned()), Order::Oldest),
    ] {
        let (mut seen, mut after, mut last) = (HashSet::new(), None, None);
        loop {
            let query = LinkQuery { tag: tag.clone(), order, after, limit: 40, text: None };
            let LinkPage { links, next } = store.links(&query).await.expect("it answers");
            assert!(links.len() <= 40);
            for link in links {
                let place = (link.created, link.code.clone());
                let is_behind = |last: (Millis, Code)| {
                    if order == Order::Newest { place < last } else { place > last }
                };
                assert!(last.is_none_or(is_behind), "out of order");
                last = Some(place);
                assert!(seen.insert(link.code), "seen twice");
            }
            let Some(next) = next else { break };
            // The last one seen, by which pages are turned, goes away; others come.
            if expected.remove(&next.1) {
                other.delete(&next.1, None).await.expect("it answers");
            }
            make_one(&other, tagged("https://example.com/new", &["t"])).await;
            after = Some(next);
        }
        let missed: Vec<_> = expected.difference(&seen).collect();
        assert!(missed.is_empty(), "{missed:?}");
    }
}

async fn links_are_found_by_tag(place: Place) {
    let store = place.open().await;
    let made = make(
        &store,
        vec![
            tagged("https://example.com/1", &["red", "blue"]),
            tagged("https://example.com/2", &["red"]),
            tagged("https://example.com/3", &["Red", "it's"]),
            tagged("https://example.com/4", &[]),
        ],
    )
    .await;
    let found = async |tag: &str| {
        let query = LinkQuery { tag: Some(tag.to_owned()), limit: 10, ..LinkQuery::default() };
        let page = store.links(&query).await.expect("it answers");
        assert_eq!(page.next, None);
        page.links.into_iter().map(|link| link.target.into()).collect::<BTreeSet<String>>()
    };
    let targets = |numbers: &[u32]| -> BTreeSet<String> {
        numbers.iter().map(|number| format!("https://example.com/{number}")).collect()
    };
    for (tag, expect) in [
        ("red", &[1, 2][..]),
        ("blue", &[1]),
        ("Red", &[3]),
        ("it's", &[3]),
        ("re", &[]),
        ("", &[]),
        ("%", &[]),
    ] {
        assert_eq!(found(tag).await, targets(expect), "{tag}");
    }
    let tags = store.tags(2).await.expect("it answers");
    assert_eq!(tags, [("red".into(), 2), ("Red".into(), 1)]);
    store.delete(&made[1].code, None).await.expect("it answers");
    assert_eq!(found("red").await, targets(&[1]));
}

async fn links_are_found_by_text(place: Place) {
    let store = place.open().await;
    let titled = |title: &str| NewLink { title: Some(title.into()), ..new("https://x.y/") };
    let made = make(
        &store,
        vec![
            NewLink { alias: Some(code("Summer-Sale")), ..tagged("https://example.com/", &["a"]) },
            tagged("https://shop.example.com/100%_off", &["a", "b"]),
            titled("The Great Summer"),
            titled("100 percent"),
        ],
    )
    .await;
    let found = async |text: &str, tag: Option<&str>| {
        let query = LinkQuery {
            text: Some(text.to_owned()),
            tag: tag.map(ToOwned::to_owned),
            limit: 10,
            ..LinkQuery::default()
        };
        let page = store.links(&query).await.expect("it answers");
        let index = |link: &Link| made.iter().position(|it| it.code == link.code).expect("known");
        page.links.iter().map(index).collect::<BTreeSet<_>>()
    };
    for (text, tag, expect) in [
        ("summer", None, &[0, 2][..]),
        ("SUMMER-s", None, &[0]),
        ("EXAMPLE.com", None, &[0, 1]),
        ("example.com", Some("b"), &[1]),
        ("100", None, &[1, 3]),
        ("100%_", None, &[1]),
        ("%", None, &[1]),
        ("0_0", None, &[]),
        ("\\", None, &[]),
        ("'", None, &[]),
        ("", Some("a"), &[0, 1]),
    ] {
        assert_eq!(found(text, tag).await, expect.iter().copied().collect(), "{text} {tag:?}");
    }
    // Pages of what is found.
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let text = Some("e".to_owned());
        let query = LinkQuery { text, after, limit: 1, ..LinkQuery::default() };
        let page = store.links(&query).await;
        let LinkPage { links, next } = page.expect("it answers");
        seen.extend(links.into_iter().map(|link| link.code));
        let Some(next) = next else { break };
        after = Some(next);
    }
    let different: HashSet<_> = seen.iter().collect();
    assert_eq!((seen.len(), different.len()), (4, 4));
}

async fn a_search_is_bounded_and_goes_on(place: Place) {
    let early = place.open_at(|| system_clock() - 60_000).await;
    let store = place.open().await;
    let needle = make_one(&early, new("https://example.com/needle")).await;
    for _ in 0..SEARCHED.div_ceil(MOST_AT_ONCE as u32) {
        make(&store, vec![new("https://example.com/hay"); MOST_AT_ONCE]).await;
    }
    let query = LinkQuery { text: Some("needle".to_owned()), limit: 5, ..LinkQuery::default() };
    let first = store.links(&query).await.expect("it answers");
    assert_eq!(first.links, []);
    assert!(first.next.is_some());
    let second = store.links(&LinkQuery { after: first.next, ..query }).await.expect("it answers");
    assert_eq!(second, LinkPage { links: vec![needle], next: None });
}

async fn keys_are_found_by_their_hash_and_revoked(place: Place) {
    let (store, other) = (place.open().await, place.open().await);
    assert_eq!(store.has_keys().await, Ok(false));
    let new = |number: u8| NewKey {
        name: format!("key {number}").into(),
        hash: [number; 32],
        scopes: "links:read".into(),
    };
    let first = store.create_key(new(1)).await.expect("it is made");
    let second = other.create_key(new(2)).await.expect("it is made");
    assert!(first.id >= 1 && second.id > first.id);
    assert_eq!((&*first.name, &*first.scopes, first.revoked), ("key 1", "links:read", None));
    assert!(matches!(store.create_key(new(1)).await, Err(StoreError::Refused(_))));
    assert_eq!(other.has_keys().await, Ok(true));
    assert_eq!(other.key_by_hash(&[1; 32]).await, Ok(Some(first.clone())));
    assert_eq!(other.key_by_hash(&[3; 32]).await, Ok(None));
    assert_eq!(store.revoke_key(first.id).await, Ok(true));
    assert_eq!(other.revoke_key(first.id).await, Ok(false));
    assert_eq!(store.revoke_key(second.id + 1).await, Ok(false));
    let revoked = other.key_by_hash(&[1; 32]).await.expect("it answers").expect("it is kept");
    assert!(revoked.revoked.is_some_and(|at| at >= first.created));
    assert_eq!(store.keys().await, Ok(vec![revoked, second]));
    assert_eq!(store.has_keys().await, Ok(true));
}

async fn of_instances_that_start_at_once_one_makes_the_first_key(place: Place) {
    let mut tasks = Vec::new();
    for number in 0..8 {
        let store = place.open().await;
        tasks.push(async move {
            let key = NewKey { name: "first".into(), hash: [number; 32], scopes: "all".into() };
            store.create_first_key(key).await.expect("it answers")
        });
    }
    let made: Vec<_> = all(tasks).await.into_iter().flatten().collect();
    assert_eq!(made.len(), 1);
    let store = place.open().await;
    assert_eq!(store.keys().await, Ok(made.clone()));
    // A key that was revoked was there all the same.
    store.revoke_key(made[0].id).await.expect("it answers");
    let key = NewKey { name: "second".into(), hash: [99; 32], scopes: "all".into() };
    assert_eq!(store.create_first_key(key).await, Ok(None));
}

async fn changes_are_listed(place: Place) {
    let store = place.open().await;
    assert_eq!(store.last_change().await, Ok(0));
    let generated = make_one(&store, new("https://example.com/")).await;
    assert_eq!(store.last_change().await, Ok(0));
    make(&store, vec![alias("a"), alias("b")]).await;
    store.update(&generated.code, &LinkPatch::default(), None).await.expect("it answers");
    store.update(&generated.code, &LinkPatch::default(), Some(1)).await.expect("it answers");
    store.update(&code("unknown"), &LinkPatch::default(), None).await.expect("it answers");
    store.create(vec![alias("a")]).await.expect("it answers");
    store.delete(&code("a"), None).await.expect("it answers");
    store.delete(&code("a"), None).await.expect("it answers");
    let all = store.changes_after(0, 100).await.expect("it answers");
    assert!(!all.incomplete);
    let mut codes: Vec<_> = all.changes.iter().map(|change| change.code.as_str()).collect();
    // The two that were made at once come in any order.
    codes[..2].sort_unstable();
    assert_eq!(codes, ["a", "b", generated.code.as_str(), "a"]);
    assert!(all.changes.is_sorted_by(|a, b| a.seq < b.seq));
    assert_eq!(store.last_change().await, Ok(all.changes[3].seq));
    let some = store.changes_after(all.changes[0].seq, 2).await.expect("it answers");
    assert_eq!(some.changes, all.changes[1..3]);
    let none = store.changes_after(all.changes[3].seq, 2).await.expect("it answers");
    assert_eq!((none.changes, none.incomplete), (Vec::new(), false));
}

async fn who_follows_changes_misses_none(place: Place) {
    let (store, other) = (place.open().await, place.open().await);
    let names: Vec<_> = (0..40).map(|number| format!("link-{number}")).collect();
    make(&store, names.iter().map(|name| alias(name)).collect()).await;
    let from = store.last_change().await.expect("it answers");
    let stores = [store, other];
    let work = names.clone().into_iter().enumerate().map(|(number, name)| {
        let store = stores[number % 2].clone();
        async move {
            for _ in 0..5 {
                let answer = store.update(&code(&name), &LinkPatch::default(), None).await;
                assert!(matches!(answer, Ok(Update::Done(_))), "{answer:?}");
            }
        }
    });
    let writers = tokio::spawn(all(work.collect::<Vec<_>>()));
    let follower = place.open().await;
    let (mut last, mut seen, mut done) = (from, Vec::new(), false);
    loop {
        let batch = follower.changes_after(last, 7).await.expect("it answers");
        assert!(!batch.incomplete);
        if let Some(change) = batch.changes.last() {
            last = change.seq;
            seen.extend(batch.changes);
        } else if done {
            break;
        }
        done = writers.is_finished();
    }
    writers.await.expect("they do not panic");
    for name in names {
        let count = seen.iter().filter(|change| change.code.as_str() == name).count();
        assert_eq!(count, 5, "changes of {name}");
    }
}

async fn changes_are_forgotten_though_never_the_last(place: Place) {
    let early = place.open_at(|| system_clock() - 3_600_000).await;
    let store = place.open().await;
    let later = system_clock() - 60_000;
    for name in ["a", "b", "c"] {
        make_one(&early, alias(name)).await;
    }
    assert_eq!(store.forget_changes(later).await, Ok(2));
    let all = store.changes_after(0, 10).await.expect("it answers");
    assert_eq!(all.changes.len(), 1);
    assert!(all.incomplete, "two are not there");
    let known = store.changes_after(all.changes[0].seq - 1, 10).await.expect("it answers");
    assert!(!known.incomplete);
    assert_eq!(store.last_change().await, Ok(all.changes[0].seq));
    make_one(&store, alias("d")).await;
    assert_eq!(store.forget_changes(later).await, Ok(1));
    assert_eq!(store.forget_changes(later).await, Ok(0));
    let left = store.changes_after(all.changes[0].seq, 10).await.expect("it answers");
    assert_eq!((left.changes.len(), left.incomplete), (1, false));
}

async fn codes_of_two_instances_never_meet(place: Place) {
    let stores = [place.open().await, place.open().await];
    let codes = Codes::new(&stores[0].secret("codes").await.expect("it answers"));
    let sizes = [1, 7, 999, 1_000, 1_001, 2_500, 1, 1];
    let made = all((0..16).map(|number: usize| {
        let store = stores[number % 2].clone();
        let links = vec![new("https://example.com/"); sizes[number / 2]];
        async move { make(&store, links).await }
    }))
    .await;
    let ids: HashSet<_> = made
        .iter()
        .flatten()
        .map(|link| codes.decode(&link.code).expect("a code of the sequence"))
        .collect();
    assert_eq!(ids.len(), 2 * sizes.iter().sum::<usize>());
}

async fn a_secret_is_the_same_for_all_and_for_ever(place: Place) {
    let stores = [place.open().await, place.open().await];
    let secrets = all((0..10).map(|number: usize| {
        let store = stores[number % 2].clone();
        async move { store.secret("sessions").await.expect("it answers") }
    }))
    .await;
    assert!(secrets.iter().all(|secret| *secret == secrets[0]));
    assert_ne!(secrets[0], [0; 32]);
    assert_ne!(stores[0].secret("other").await, Ok(secrets[0]));
    drop(stores);
    assert_eq!(place.open().await.secret("sessions").await, Ok(secrets[0]));
}

async fn many_instances_may_start_at_once(place: Place) {
    let stores = all((0..8).map(|_| {
        let place = place.clone();
        async move { place.open().await }
    }))
    .await;
    let mut codes = HashSet::new();
    for store in &stores {
        codes.insert(make_one(store, new("https://example.com/")).await.code);
    }
    assert_eq!(codes.len(), 8);
    // And what they made is there after all have gone.
    drop(stores);
    let store = place.open().await;
    for code in codes {
        assert!(read(&store, &code).await.is_some());
    }
}

async fn it_says_how_it_is_and_how_much_it_has(place: Place) {
    let store = place.open().await;
    let before = store.size().await.expect("it answers");
    assert_eq!(before.links, 0);
    make(&store, vec![new("https://example.com/"); 2_000]).await;
    let after = store.size().await.expect("it answers");
    assert!(after.bytes >= before.bytes + 2_000 * 50, "{before:?} {after:?}");
    let health = store.health().await;
    assert_eq!(health.primary.error, None);
    assert!(!health.primary.name.is_empty());
    assert_eq!(health.replicas.len(), 0);
}
