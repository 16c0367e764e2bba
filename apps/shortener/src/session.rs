//! Sessions of the web page: a signed cookie that stands for an API key.
//!
//! Nothing of a session is kept here, so that any instance takes up any session: the cookie says
//! which key it stands for (by the hash that is stored of it), when it began and when it was last
//! renewed, under HMAC-SHA256 with a secret of the database. The key itself is asked for with each
//! request, so that a session may do what its key may do, and ends with it. The price: a cookie that
//! was copied ends with its key or its time, not when whoever it was copied from signs out.
//!
//! Browsers send cookies by themselves, so requests by cookie that change something must come from
//! a page of this server. Called by `auth.rs` and `api/session.rs`.

use axum::http::{HeaderMap, HeaderValue, Method, header};
use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::link::Millis;
use crate::problem::Problem;

/// How long a session lasts after it was renewed last: a week.
pub const IDLE: Millis = 7 * 24 * HOUR;

/// How long a session lasts whatever happens: thirty days.
pub const WHOLE: Millis = 30 * 24 * HOUR;

/// After how long a session that is used is renewed.
pub const RENEWAL: Millis = HOUR;

const HOUR: Millis = 60 * 60 * 1000;

/// The first byte of what is signed: the form of the rest.
const FORM: u8 = 1;

/// Form, hash of the key, begin, renewal, signature.
const LENGTH: usize = 1 + 32 + 8 + 8 + 32;

/// A session, whose key may have been revoked since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// What is stored of its key.
    pub key: [u8; 32],
    begun: Millis,
    renewed: Millis,
}

/// Makes sessions and knows them again.
pub struct Sessions {
    secret: [u8; 32],
    /// Of the URL that short links begin with: `https://sn.ip`.
    origin: String,
    is_secure: bool,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions").field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl Sessions {
    /// Sessions signed with this secret, of a server that is reached at `url`.
    pub fn new(secret: [u8; 32], url: &str) -> Sessions {
        let origin = url::Url::parse(url).map(|url| url.origin().ascii_serialization());
        let is_secure = url.starts_with("https://");
        Sessions { secret, origin: origin.unwrap_or_default(), is_secure }
    }

    /// The cookie of a new session of the key with this hash.
    pub fn begin(&self, key: [u8; 32], now: Millis) -> HeaderValue {
        self.cookie(&Session { key, begun: now, renewed: now }, now)
    }

    /// The session of a request, if it has one that has not ended by now.
    pub fn of(&self, headers: &HeaderMap, now: Millis) -> Option<Session> {
        let name = self.name();
        let fields = headers.get_all(header::COOKIE).iter().filter_map(|field| field.to_str().ok());
        let pairs = fields.flat_map(|field| field.split(';')).filter_map(|it| it.split_once('='));
        // Others may have set one of the same name for a domain above, so that it comes first.
        pairs
            .filter(|(key, _)| key.trim() == name)
            .filter_map(|(_, value)| self.read(value.trim()))
            .find(|session| now < session.end())
    }

    /// The cookie that goes on with a session, once it is old enough to be worth it.
    pub fn renewed(&self, session: &Session, now: Millis) -> Option<HeaderValue> {
        let is_due = now - session.renewed >= RENEWAL;
        is_due.then(|| self.cookie(&Session { renewed: now, ..*session }, now))
    }

    /// The cookie that ends the session of a browser.
    pub fn ended(&self) -> HeaderValue {
        self.field("", 0)
    }

    /// Whether a request by cookie is one of our own pages: needed for those that change something.
    ///
    /// # Errors
    /// `CrossSite` when the browser says that it is not, or does not say.
    pub fn check_origin(&self, method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
        if matches!(*method, Method::GET | Method::HEAD) {
            return Ok(());
        }
        let only = |name: &str| {
            let mut fields = headers.get_all(name).iter();
            let field = fields.next()?;
            // Twice is as good as wrong.
            Some(fields.next().map_or_else(|| field.to_str().ok(), |_| None).unwrap_or_default())
        };
        let is_ours = match (only("sec-fetch-site"), only("origin")) {
            // Browsers say this of pages that came by HTTPS, or from this machine.
            (Some(site), _) => site == "same-origin",
            (None, Some(origin)) => self.is_own(origin, only("host").unwrap_or_default()),
            (None, None) => false,
        };
        if is_ours { Ok(()) } else { Err(Problem::CrossSite) }
    }

    /// An origin that is the configured one, or the one that was asked: instances may also be
    /// reached by other names than short links have.
    fn is_own(&self, origin: &str, host: &str) -> bool {
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        origin.eq_ignore_ascii_case(&self.origin)
            || (!host.is_empty() && authority.is_some_and(|it| it.eq_ignore_ascii_case(host)))
    }

    /// `__Host-`: browsers take it only over HTTPS, for this host alone, and for all of its paths.
    fn name(&self) -> &'static str {
        if self.is_secure { "__Host-snip" } else { "snip" }
    }

    fn cookie(&self, session: &Session, now: Millis) -> HeaderValue {
        let signed = session.signed();
        let signature = self.sign(&signed).finalize().into_bytes();
        let value = BASE64URL_NOPAD.encode(&[&signed[..], &signature].concat());
        self.field(&value, (session.end() - now) / 1000)
    }

    fn field(&self, value: &str, seconds: Millis) -> HeaderValue {
        let (name, secure) = (self.name(), if self.is_secure { "; Secure" } else { "" });
        let text =
            format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
        HeaderValue::try_from(text).expect("Base64 and digits are fit for a field")
    }

    fn read(&self, value: &str) -> Option<Session> {
        let bytes = BASE64URL_NOPAD.decode(value.as_bytes()).ok()?;
        let bytes: &[u8; LENGTH] = bytes.as_slice().try_into().ok()?;
        let (signed, signature) = bytes.split_at(LENGTH - 32);
        self.sign(signed).verify_slice(signature).ok()?;
        let (form, rest) = signed.split_first()?;
        let (key, times) = rest.split_first_chunk::<32>()?;
        let (begun, renewed) = times.split_first_chunk::<8>()?;
        let renewed = Millis::from_be_bytes(renewed.try_into().ok()?);
        let begun = Millis::from_be_bytes(*begun);
        (*form == FORM).then_some(Session { key: *key, begun, renewed })
    }

    fn sign(&self, signed: &[u8]) -> Hmac<Sha256> {
        let mac = Hmac::<Sha256>::new_from_slice(&self.secret);
        let mut mac = mac.expect("HMAC takes keys of any length");
        mac.update(signed);
        mac
    }
}

impl Session {
    fn end(&self) -> Millis {
        (self.renewed + IDLE).min(self.begun + WHOLE)
    }

    fn signed(&self) -> [u8; LENGTH - 32] {
        let mut bytes = [FORM; LENGTH - 32];
        bytes[1..33].copy_from_slice(&self.key);
        bytes[33..41].copy_from_slice(&self.begun.to_be_bytes());
        bytes[41..].copy_from_slice(&self.renewed.to_be_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = 1_800_000_000_000;

    fn sessions(url: &str) -> Sessions {
        Sessions::new([7; 32], url)
    }

    fn with(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.append(name, value.parse().expect("a value"));
        headers
    }

    /// What a browser sends back that was told this.
    fn sent(cookie: &HeaderValue) -> HeaderMap {
        let text = cookie.to_str().expect("ASCII");
        with("cookie", text.split(';').next().unwrap_or_default())
    }

    #[test]
    fn a_session_is_known_again_until_it_ends() {
        let sessions = sessions("http://sn.ip");
        let headers = sent(&sessions.begin([1; 32], NOW));
        let session = sessions.of(&headers, NOW).expect("it is good");
        assert_eq!(session.key, [1; 32]);
        assert_eq!(sessions.of(&headers, NOW + IDLE - 1), Some(session));
        assert_eq!(sessions.of(&headers, NOW + IDLE), None);
        // A clock that goes back ends nothing.
        assert_eq!(sessions.of(&headers, NOW - HOUR), Some(session));
    }

    #[test]
    fn renewal_goes_on_but_not_for_ever() {
        let sessions = sessions("http://sn.ip");
        let mut session = Session { key: [1; 32], begun: NOW, renewed: NOW };
        assert_eq!(sessions.renewed(&session, NOW + RENEWAL - 1), None);
        let mut now = NOW;
        while now < NOW + WHOLE - IDLE {
            now += IDLE - 1;
            let cookie = sessions.renewed(&session, now).expect("it is due");
            session = sessions.of(&sent(&cookie), now).expect("it goes on");
        }
        assert_eq!(session.end(), NOW + WHOLE);
        assert_eq!(sessions.of(&sent(&sessions.cookie(&session, now)), NOW + WHOLE), None);
    }

    #[test]
    fn what_was_not_signed_here_is_no_session() {
        let ours = sessions("http://sn.ip");
        let cookie = ours.begin([1; 32], NOW);
        let text = cookie.to_str().expect("ASCII").split(';').next().expect("a pair").to_owned();
        assert_eq!(Sessions::new([8; 32], "http://sn.ip").of(&sent(&cookie), NOW), None);
        let value = text.strip_prefix("snip=").expect("its name").to_owned();
        for index in 0..value.len() {
            let other = if value.as_bytes()[index] == b'A' { "B" } else { "A" };
            let mut forged = value.clone();
            forged.replace_range(index..=index, other);
            let headers = with("cookie", &format!("snip={forged}"));
            assert_eq!(ours.of(&headers, NOW), None, "byte {index}");
        }
        for wrong in ["", "snip", "snip=", "snip=AAAA", "other=1", "snip=\"\""] {
            assert_eq!(ours.of(&with("cookie", wrong), NOW), None, "{wrong}");
        }
        let crowded = with("cookie", &format!("snip=AAAA; a=b; {text}; c"));
        assert!(ours.of(&crowded, NOW).is_some());
    }

    #[test]
    fn cookies_are_for_this_host_and_not_for_scripts() {
        let secure = sessions("https://sn.ip");
        let text = secure.begin([1; 32], NOW);
        let text = text.to_str().expect("ASCII");
        assert!(text.starts_with("__Host-snip="), "{text}");
        let ending = "; Path=/; Max-Age=604800; HttpOnly; SameSite=Strict; Secure";
        assert!(text.ends_with(ending), "{text}");
        let plain = sessions("http://127.0.0.1:3000");
        assert_eq!(plain.ended(), "snip=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict");
    }

    #[test]
    fn changes_come_from_pages_of_this_server() {
        let sessions = sessions("https://sn.ip/x");
        for (fields, expect) in [
            (&[][..], false),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "cross-site"), ("origin", "https://sn.ip")], false),
            (&[("sec-fetch-site", "none")], false),
            (&[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "same-origin")], false),
            (&[("origin", "https://sn.ip")], true),
            (&[("origin", "https://sn.ip.evil.example")], false),
            (&[("origin", "http://10.0.0.1:3000"), ("host", "10.0.0.1:3000")], true),
            (&[("origin", "http://10.0.0.1:3001"), ("host", "10.0.0.1:3000")], false),
            (&[("origin", "null"), ("host", "null")], false),
            (&[("origin", "http://"), ("host", "")], false),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, HeaderValue::from_static(value));
            }
            assert_eq!(
                sessions.check_origin(&Method::POST, &headers).is_ok(),
                expect,
                "{fields:?}"
            );
            assert!(sessions.check_origin(&Method::GET, &headers).is_ok());
        }
    }
}
