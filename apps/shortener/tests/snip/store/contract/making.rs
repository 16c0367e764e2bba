//! What holds of every store: making and looking up links.

use std::collections::HashSet;

use snip::code::Codes;
use snip::link::{LinkQuery, NewLink, Redirect};
use snip::store::{MOST_AT_ONCE, Read, StoreError, Taken};

use super::{Case, Place, alias, all, code, make, make_one, new, read};

cases! {
    a_link_is_read_as_it_was_made
    many_who_look_up_at_once_find_what_is_theirs
    an_alias_is_given_once
    of_many_that_want_an_alias_one_gets_it
    what_is_taken_does_not_keep_the_others_from_being_made
    a_code_that_meets_an_alias_is_passed_over
    nothing_and_too_much_at_once
    codes_of_two_instances_never_meet
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
