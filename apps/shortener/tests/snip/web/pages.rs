//! The pages beside those of links, in one browser: the overview, keys, many links at once, and two
//! people who change one link.

use seawall_testkit::Browser;
use serde_json::{Value, json};

use super::hand::Hand;
use crate::clicks::{DESK, PHONE, follow};
use crate::client::json as body_of;
use crate::instance::{Home, Instance};

const CONFIG: &str = "trust = [\"127.0.0.1\"]\n[clicks]\nevery = \"20ms\"\n";

#[test]
fn the_other_pages_do_what_they_say() {
    let home = Home::new();
    let snip = home.start(CONFIG);
    let browser = Browser::start().expect("a browser");
    let base = format!("http://{}", snip.address);
    let owner = Hand::new(&browser, &base, 1200);
    owner.sign_in(snip.key());
    many_links_are_made_from_lines_and_tables(&owner, &snip);
    clicks_are_seen_as_they_come(&owner, &snip);
    two_who_change_a_link_lose_nothing(&owner, &snip);
    keys_are_made_shown_once_and_revoked(&owner, &Hand::new(&browser, &base, 1000));
    all_can_be_used_in_the_dark_and_on_a_phone(&owner);
}

fn many_links_are_made_from_lines_and_tables(hand: &Hand, snip: &Instance) {
    hand.click(".bar-top button.small");
    hand.until("document.activeElement.name === 'lines'");
    hand.write(
        "example.com/one\nexample.com/two second\n\njavascript:alert(1)\nexample.com/3 a b\n",
    );
    hand.fill("tags", "print");
    hand.press("Enter");
    hand.reads(".made.many", "2 links are made, 2 not.");
    hand.reads(".made.many", "the scheme “javascript” is not allowed");
    let lines = "[...document.querySelectorAll('.made.many tr td:first-child')].slice(0, 2).map((it) => it.innerText).join()";
    assert_eq!(hand.text(lines), "4,5");
    hand.reads(".rows > li .tag", "print");
    assert_eq!(snip.follow("second").1.as_deref(), Some("https://example.com/two"));
    hand.click(".made.many button.main");
    hand.until("navigator.clipboard.readText().then((text) => text.split('\\n').length === 2 && text.endsWith('/second'))");
    hand.is_accessible("many");

    // What was exported can be made again, elsewhere; here its aliases are taken.
    let table = "target,alias,title,tags,clicks_left\r\nhttps://example.com/t,third,\"Says \"\"hi\"\", twice\",\"x,y\",9\r\nhttps://example.com/u,second,,,\r\n";
    hand.click("[name=lines]");
    hand.write(table);
    hand.click("form .actions button.main");
    hand.reads(".made.many", "1 link is made, 1 not.");
    hand.reads(".made.many", "There is a link “second” already.");
    let third = body_of(&snip.api(snip.key(), "GET", "/links/third", &Value::Null));
    assert_eq!(
        (&third["title"], &third["tags"], &third["clicks_left"]),
        (&json!("Says \"hi\", twice"), &json!(["x", "y"]), &json!(9))
    );
    let file = "fetch(document.querySelector('a[download=\"links.csv\"]').href).then((it) => it.text()).then((it) => it.split('\\n').length)";
    assert_eq!(hand.until(file), json!(5), "three links, the names, and the end");
}

fn clicks_are_seen_as_they_come(hand: &Hand, snip: &Instance) {
    hand.go("/stats");
    hand.reads(".clicks .empty", "No clicks in this time");
    hand.until("document.querySelector('.live:not([hidden])')");
    for (code, agent) in
        [("second", PHONE), ("second", DESK), ("third", DESK), ("third", "curl/8.5.0")]
    {
        follow(snip, code, &format!("user-agent: {agent}\r\nreferer: https://news.example/\r\n"));
    }
    hand.until("document.querySelectorAll('.latest li').length === 4");
    hand.reads(".latest li", "curl (bot)");
    hand.until("document.querySelector('.tile dd')?.textContent === '3'");
    hand.reads(".divided .wide", "Most clicked");
    assert_eq!(
        hand.text("document.querySelector('.wide li').innerText.replace(/\\s+/g, ' ').trim()"),
        "second example.com/two 2"
    );
    hand.reads(".divided", "news.example");
    hand.reads(".divided", "Bots, which are not in the others");
    // Nothing moves for whoever wants to read it.
    hand.click("[aria-pressed=false]");
    follow(snip, "third", &format!("user-agent: {DESK}\r\n"));
    hand.until("document.querySelector('.tile dd')?.textContent === '4'");
    assert_eq!(hand.until("document.querySelectorAll('.latest li').length"), json!(4));
    hand.click("[aria-pressed=true]");
    hand.until("document.querySelectorAll('.latest li').length === 5");
    hand.click("[name=range][value=hour]");
    hand.reads(".clicks", "Of whole days");
    hand.until("location.search === '?range=hour'");
    hand.is_accessible("overview");
    hand.picture("overview");
    hand.click(".wide a");
    hand.reads("h1", "/second");
    hand.press("u");
    // Links that were made at once are in the order of their codes, which are random.
    hand.until("[...document.querySelectorAll('.rows > li')].find((it) => it.innerText.includes('/second'))?.querySelector('.clicked').innerText.includes('2 clicks')");
    hand.page.eval("document.querySelector('#sort').value = 'oldest', document.querySelector('#sort').dispatchEvent(new Event('change'))").expect("it is there");
    hand.until("location.search === '?sort=oldest'");
    hand.reads(".state", "3 links; clicks of 30 days");
}

fn two_who_change_a_link_lose_nothing(hand: &Hand, snip: &Instance) {
    hand.go("/links/second");
    hand.click("[data-act=edit]");
    snip.change(snip.key(), "second", json!({ "title": "Theirs", "tags": ["theirs"] }));
    hand.fill("title", "Mine");
    hand.press("Enter");
    hand.reads("dialog .alert.bad", "Somebody has changed the link meanwhile");
    hand.until("document.activeElement.name === 'title'");
    hand.reads("dialog .wrong:not([hidden])", "Somebody has changed this to: Theirs.");
    assert_eq!(hand.text("document.querySelector('dialog [name=tags]').value"), "theirs");
    hand.is_accessible("conflict");
    hand.picture("conflict");
    hand.press("Enter");
    hand.reads("#notices", "Saved");
    let link = || body_of(&snip.api(snip.key(), "GET", "/links/second", &Value::Null));
    assert_eq!((&link()["title"], &link()["tags"]), (&json!("Mine"), &json!(["theirs"])));
    // Everything else that a link has.
    snip.change(snip.key(), "second", json!({ "target": "https://example.com/two?a=1&utm_id=7" }));
    hand.go("/links/second");
    hand.click("[data-act=edit]");
    hand.click("dialog summary");
    hand.fill("utm/id", " ");
    hand.fill("utm/source", "mail");
    hand.reads("dialog .preview", "https://example.com/two?a=1&utm_source=mail");
    hand.fill("clicks_left", "5");
    hand.page.eval("document.querySelector('[name=forward_query]').value = 'true'").expect("it is");
    hand.fill("password", "sesame");
    hand.press("Enter");
    hand.until("!document.querySelector('dialog')");
    let link = link();
    assert_eq!(link["target"], "https://example.com/two?a=1&utm_source=mail");
    assert_eq!((&link["clicks_left"], &link["protected"]), (&json!(5), &json!(true)));
    assert_eq!(link["forward_query"], json!(true));
    hand.reads(".names .row-head", "Password");
    hand.reads(".about", "Sent on");
}

fn keys_are_made_shown_once_and_revoked(owner: &Hand, other: &Hand) {
    owner.press("a");
    owner.reads("h1", "API keys");
    owner.click("button.main");
    owner.reads(".wrong:not([hidden])", "Enter a name.");
    owner.write("reader");
    owner.click("[name=scopes][value='links:write']");
    owner.press("Enter");
    owner.reads(".made", "it is shown this once");
    let key = owner.text("document.querySelector('.secret').textContent");
    owner.click(".made button.copy");
    owner.until(&format!("navigator.clipboard.readText().then((text) => text === {})", json!(key)));
    owner.is_accessible("keys");
    owner.picture("keys");
    owner.until("document.querySelectorAll('.rows > li').length === 2");

    // Who has it sees what it is good for, until it is revoked.
    other.sign_in(&key);
    other.until("document.querySelectorAll('.rows > li').length === 3");
    assert_eq!(other.text("document.querySelector('.tabs').innerText.trim()"), "Links");
    assert_eq!(other.until("document.querySelectorAll('.create, .clicked').length + 1"), json!(1));
    owner.go("/keys");
    owner.until("document.querySelectorAll('.rows > li').length === 2");
    assert_eq!(owner.until("1 + document.querySelectorAll('.secret').length"), json!(1));
    owner.click("[aria-label='Revoke reader']");
    owner.reads("dialog h2", "Revoke “reader”?");
    owner.click("dialog button.main");
    owner.reads(".rows > li:nth-child(2)", "Revoked");
    other.press("j");
    other.press("Enter");
    other.reads("[role=status]", "session has ended");
}

fn all_can_be_used_in_the_dark_and_on_a_phone(hand: &Hand) {
    for (scheme, width) in [("light", 1200), ("dark", 360)] {
        hand.page.resize(width, 740, width < 500).expect("a size");
        hand.page
            .prefer(&[("prefers-color-scheme", scheme), ("prefers-reduced-motion", "reduce")])
            .expect("it can prefer");
        for (path, ready) in [
            ("/", ".rows > li .copy"),
            ("/stats", ".divided .wide a"),
            ("/keys", ".rows > li"),
            ("/links/third", ".divided"),
            ("/links/none", "main.alone"),
        ] {
            hand.go(path);
            hand.until(&format!("document.querySelector({})", json!(ready)));
            let name = format!("{}-{scheme}-{width}", path.replace('/', "_"));
            hand.is_accessible(&name);
            hand.picture(&name);
            if path != "/links/none" {
                hand.goes_through(&name, 40);
            }
        }
        hand.go("/links/third");
        hand.click("[data-act=edit]");
        hand.until("document.querySelector('dialog')");
        hand.is_accessible(&format!("edit-{scheme}"));
        for (path, heading) in [("/none", "no such link"), ("/second", "password")] {
            hand.go(path);
            hand.reads("h1", heading);
            hand.is_accessible(&format!("{path}-{scheme}"));
        }
    }
}
