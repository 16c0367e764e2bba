//! The web page in a real browser, used as people use it. Pictures of what they see are written to
//! `target/tmp/pages`, to be looked at.

mod access;
mod hand;
mod pages;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use seawall_testkit::{Browser, Origin, RawClient, Response, Seawall};
use serde_json::{Value, json};

use crate::edge::seawall;
use crate::instance::{Home, Instance};
use hand::Hand;

/// A server that links lead to, which says what it is.
fn destination(name: &'static str) -> (Origin, Arc<AtomicUsize>) {
    let visits = Arc::new(AtomicUsize::new(0));
    let origin = Origin::scripted({
        let visits = visits.clone();
        move |conversation| {
            let request = conversation.read_request()?;
            if request.target == "/page" {
                visits.fetch_add(1, Relaxed);
            }
            let page = Response::new(200, format!("<title>{name}</title><h1>{name}</h1>"));
            conversation.respond(&request, page.with("content-type", "text/html"))
        }
    });
    (origin.expect("an address"), visits)
}

/// The page of a destination. Not under the address that short links have: they would lead in a
/// circle.
fn at(destination: &Origin) -> String {
    format!("http://localhost:{}/page", destination.address().port())
}

/// Seawall with a cache in front of an instance whose links begin with the address of Seawall.
fn behind_seawall(home: &Home) -> (Seawall, Instance, String) {
    let config = "[server]\nadmin = \"127.0.0.1:0\"\n\
                  [listen.web]\naddress = \"127.0.0.1:0\"\n\
                  [upstream.snip]\nservers = [\"127.0.0.1:1\"]\n\
                  [[route]]\nto = \"snip\"\ncache = {}\n\
                  [route.report]\npath = \"/api/v1/clicks/report\"\nevery = \"100ms\"\n\
                  authorization = \"Bearer only-for-this-test\"\n";
    let seawall = Seawall::start(seawall(), config).expect("seawall starts");
    let admin = seawall.admin().expect("it has one");
    let url = format!("http://{}", seawall.address("web"));
    let snip = home.start(&format!(
        "url = \"{url}\"\ntrust = [\"127.0.0.1\"]\n[edge]\npurge = [\"http://{admin}\"]\n\
         [clicks]\nevery = \"50ms\"\nreport-token = \"only-for-this-test\""
    ));
    let text = config.replace("127.0.0.1:1\"", &format!("{}\"", snip.address));
    seawall.rewrite(&text).expect("it can be written");
    assert_eq!(seawall.reload().expect("an answer").status, 200);
    (seawall, snip, url)
}

const PHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 \
    (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1";

#[test]
fn a_link_is_made_copied_followed_and_changed_through_the_cache_of_seawall() {
    let home = Home::new();
    let (seawall, snip, url) = behind_seawall(&home);
    let (old, _) = destination("the old page");
    let (new, visits) = destination("the new page");
    let browser = Browser::start().expect("a browser");
    let owner = Hand::new(&browser, &url, 1200);
    owner.sign_in(snip.key());
    owner.picture("empty");

    owner.until("document.activeElement.name === 'target'");
    owner.write(&at(&old));
    owner.press("Enter");
    owner.reads(".made .eyebrow", "copied");
    let short = owner.text("navigator.clipboard.readText()");
    assert!(short.starts_with(&format!("{url}/")), "{short}");
    assert_eq!(owner.text("document.querySelector('.made-link a').href"), short);
    owner.reads(".rows > li .short", short.trim_start_matches("http://"));
    owner.picture("made");

    // Each visitor has a browser of their own: what one keeps cannot be taken back.
    let follow = |expect: &str| {
        let visitor = Hand::new(&browser, &url, 800);
        visitor.page.call_itself(PHONE).expect("it can");
        visitor.page.go(&short).expect("it leads somewhere");
        visitor.reads("h1", expect);
    };
    follow("the old page");
    follow("the old page");
    let path = short.strip_prefix(&url).expect("its path");
    let mut client = RawClient::connect(seawall.address("web")).expect("it accepts");
    let host = seawall.address("web").to_string();
    let answer = client.get(&host, path).expect("it answers");
    let status = answer.header("cache-status").unwrap_or_default();
    assert!(status.contains("; hit"), "Seawall keeps it: {status}");

    owner.click(".made a[data-go]");
    owner.reads("h1", short.trim_start_matches("http://"));
    owner.click("[data-act=edit]");
    owner.fill("target", &at(&new));
    owner.picture("edit");
    owner.press("Enter");
    owner.reads("#notices", "Saved");
    owner.reads(".names .target", &at(&new).replace("http://", ""));
    follow("the new page");
    assert_eq!(visits.load(Relaxed), 1);
    // Three by phone, of which the cache answered one, are seen without anything being pressed; the
    // one without a name is none of people.
    owner.until("document.querySelector('.tile dd')?.textContent === '3'");
    owner.reads(".divided", "Direct or unknown");
    owner.reads(".divided", "Phone");
    owner.picture("link");

    owner.click("[data-act=toggle]");
    owner.reads(".names .badge", "Disabled");
    let stranger = Hand::new(&browser, &url, 800);
    stranger.page.go(&short).expect("it answers");
    stranger.reads("h1", "There is no such link");
    stranger.picture("missing");
    owner.click("#notices button");
    owner.until("!document.querySelector('.names .badge')");
    follow("the new page");

    owner.click("[data-act=delete]");
    owner.reads("dialog h2", "Delete");
    owner.picture("delete");
    owner.press("Escape");
    owner.until("!document.querySelector('dialog')");
    owner.click("[data-act=delete]");
    owner.click("dialog button.main");
    owner.reads(".list .state", "No links yet");
    let stranger = Hand::new(&browser, &url, 800);
    stranger.page.go(&short).expect("it answers");
    stranger.reads("h1", "There is no such link");
}

#[test]
fn everything_is_done_with_the_keyboard_alone() {
    let home = Home::new();
    let snip = home.start("");
    for number in 0..30 {
        snip.create(json!({ "target": format!("https://example.com/{number}"), "tags": ["many"] }));
    }
    let browser = Browser::start().expect("a browser");
    let hand = Hand::new(&browser, &format!("http://{}", snip.address), 1000);
    hand.go("/");
    hand.until("document.activeElement.name === 'key'");
    hand.write("snip_wrong");
    hand.press("Enter");
    hand.reads(".wrong:not([hidden])", "unknown or revoked");
    hand.until(
        "document.activeElement.name === 'key' && document.activeElement.ariaInvalid === 'true'",
    );
    hand.picture("signin-wrong");
    hand.press("Control+a");
    hand.write(snip.key());
    hand.press("Enter");

    // What is wrong is said at its field, in a fold that opens for it.
    hand.until("document.activeElement.name === 'target'");
    hand.write("example.com/spring");
    hand.until("document.querySelector('.fold').open === false");
    let tab_to = |what: &str| {
        for _ in 0..150 {
            hand.press("Tab");
            if hand.page.eval(what).expect("it is there") == json!(true) {
                return;
            }
        }
        panic!("the focus never comes to {what}");
    };
    tab_to("document.activeElement.matches('.create > .fold > summary')");
    hand.press("Enter");
    hand.until("document.querySelector('.fold').open");
    tab_to("document.activeElement.name === 'alias'");
    hand.write("admin");
    tab_to("document.activeElement.name === 'tags'");
    hand.write("spring, newsletter");
    tab_to("document.activeElement.matches('.inner > summary')");
    hand.press("Enter");
    tab_to("document.activeElement.name === 'utm/source'");
    hand.write("mail");
    hand.reads(".preview", "https://example.com/spring?utm_source=mail");
    hand.press("Enter");
    hand.until("document.activeElement.name === 'alias'");
    hand.reads(".wrong:not([hidden])", "reserved");
    hand.picture("options-wrong");
    hand.press("Control+a");
    hand.write("spring-sale");
    hand.press("Enter");
    hand.reads(".made .target", "example.com/spring?utm_source=mail");
    assert_eq!(
        snip.follow("spring-sale").1.as_deref(),
        Some("https://example.com/spring?utm_source=mail")
    );

    // Pages, search and tags.
    hand.until("document.querySelectorAll('.rows > li').length === 26");
    hand.press("?");
    hand.reads("dialog h2", "Keyboard shortcuts");
    hand.picture("shortcuts");
    hand.press("Escape");
    hand.until("!document.querySelector('dialog')");
    hand.press("/");
    hand.until("document.activeElement.id === 'q'");
    hand.write("SPRING");
    hand.until(
        "document.querySelectorAll('.rows > li').length === 1 && location.search === '?q=SPRING'",
    );
    hand.press("Enter");
    hand.until("document.activeElement.matches('.rows .short')");
    hand.press("c");
    hand.until("navigator.clipboard.readText().then((text) => text.endsWith('/spring-sale'))");
    hand.press("Enter");
    hand.reads("h1", "/spring-sale");
    hand.press("e");
    hand.until(
        "document.activeElement.closest('dialog') && document.activeElement.name === 'target'",
    );
    hand.press("Control+a");
    hand.write("javascript:alert(1)");
    hand.press("Enter");
    hand.reads("dialog .wrong:not([hidden])", "scheme");
    hand.press("Escape");
    hand.until("!document.querySelector('dialog')");
    hand.press("u");
    hand.until("document.querySelectorAll('.rows > li').length === 25");
    tab_to("document.activeElement.innerText === 'Show more'");
    hand.press("Enter");
    hand.until("document.querySelectorAll('.rows > li').length === 31");
    hand.until("document.activeElement.matches('.rows > li:nth-child(26) .short')");
    tab_to("document.activeElement.matches('button.tag')");
    hand.press("Enter");
    hand.until("location.search === '?tag=many'");
    hand.until("document.querySelector('#tag').value === 'many'");
    hand.reads(".state", "newest that fit");

    // Somebody ends the key: the page says so and asks for another.
    let keys = snip.api(snip.key(), "DELETE", "/keys/1", &Value::Null);
    assert_eq!(keys.status, 204);
    hand.press("k");
    hand.until("document.activeElement.matches('.rows .short')");
    hand.press("Enter");
    hand.reads("[role=status]", "session has ended");
}

#[test]
fn it_fits_a_phone_and_the_night() {
    let home = Home::new();
    let snip = home.start("");
    let target = "https://example.com/a/rather/long/path/to/something?with=parameters&and=more";
    let title = "The spring sale of the whole house, from the first of March on";
    let body = json!({ "target": target, "title": title, "tags": ["spring", "newsletter"],
        "alias": "spring-sale-2027-newsletter", "expires": "2038-01-01T00:00:00Z", "clicks_left": 500 });
    snip.create(body);
    let locked = snip.create(json!({ "target": target, "password": "sesame" }));
    let ended = snip.create(json!({ "target": target, "clicks_left": 0 }));
    let browser = Browser::start().expect("a browser");
    let hand = Hand::new(&browser, &format!("http://{}", snip.address), 1200);
    hand.go("/");
    hand.until("document.activeElement.name === 'key'");
    hand.picture("signin");
    hand.sign_in(snip.key());
    hand.until("document.querySelectorAll('.rows > li').length === 3");
    let ground = "getComputedStyle(document.body).backgroundColor";
    let bright = hand.text(ground);
    hand.picture("list");
    for (scheme, width) in [("light", 360), ("dark", 360), ("dark", 1200)] {
        hand.page.resize(width, 740, width < 500).expect("a size");
        hand.page
            .prefer(&[("prefers-color-scheme", scheme), ("prefers-reduced-motion", "reduce")])
            .expect("it can prefer");
        assert_eq!(hand.text(ground) == bright, scheme == "light");
        hand.go("/");
        hand.until("document.querySelectorAll('.rows > li').length === 3");
        hand.picture(&format!("list-{scheme}-{width}"));
        hand.fill("target", target);
        hand.press("Enter");
        hand.until("document.querySelector('.made img')?.complete");
        hand.picture(&format!("made-{scheme}-{width}"));
        let made = hand.text("document.querySelector('.made-link a').href");
        let made = made.rsplit('/').next().expect("a code").to_owned();
        hand.go("/links/spring-sale-2027-newsletter");
        hand.reads("h1", "spring-sale");
        hand.until("document.querySelector('.clicks .tiles')");
        hand.picture(&format!("link-{scheme}-{width}"));
        hand.click("[data-act=edit]");
        hand.until("document.querySelector('dialog')");
        hand.picture(&format!("edit-{scheme}-{width}"));
        for (code, word) in [(locked.as_str(), "password"), (ended.as_str(), "ended")] {
            hand.go(&format!("/{code}"));
            hand.reads("h1", word);
            hand.picture(&format!("{word}-{scheme}-{width}"));
        }
        let gone = snip.api(snip.key(), "DELETE", &format!("/links/{made}"), &Value::Null);
        assert_eq!(gone.status, 204);
    }
    hand.go(&format!("/{locked}"));
    hand.until("document.activeElement.name === 'password'");
    hand.write("wrong");
    hand.press("Enter");
    hand.reads("h1", "This is not the password");
}
