//! Passwords of links: argon2id with the parameters of the `argon2` crate (19 MiB, two passes), as
//! PHC strings.
//!
//! Each takes tens of milliseconds of a core and 19 MiB, so that it is done away from the threads
//! that answer requests, and by two at a time.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Argon2, Params};
use tokio::sync::Semaphore;

/// Characters that a password has at most.
pub const LONGEST_PASSWORD: usize = 256;

/// How many times as much as one of ours a hash may cost.
const MOST_TIMES: u32 = 4;

static TURNS: Semaphore = Semaphore::const_new(2);

/// The hash of a password. `None` when the system has no randomness to give.
pub async fn hash(password: String) -> Option<Box<str>> {
    apart(move || {
        let hash = Argon2::default().hash_password(password.as_bytes());
        hash.ok().map(|hash| hash.to_string().into_boxed_str())
    })
    .await
    .flatten()
}

/// Whether this is the password of a hash; never of a text that is not one.
pub async fn is(password: String, hash: Box<str>) -> bool {
    apart(move || {
        let Ok(hash) = PasswordHash::new(&hash) else { return false };
        is_fair(&hash) && Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()
    })
    .await
    .unwrap_or(false)
}

/// Whether a hash costs no more than a few of ours: it says itself what it costs, and comes from where
/// others may have put it.
fn is_fair(hash: &PasswordHash) -> bool {
    Params::try_from(hash).is_ok_and(|params| {
        params.m_cost() <= MOST_TIMES * Params::DEFAULT_M_COST
            && params.t_cost() <= MOST_TIMES * Params::DEFAULT_T_COST
    })
}

async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let turn = TURNS.acquire().await.ok()?;
    // The turn goes along: a request that is given up does not let others begin meanwhile.
    let done = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        work()
    });
    done.await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_password_is_the_password() {
        let hash = hash("söcret".to_owned()).await.expect("there is randomness");
        assert!(hash.starts_with("$argon2id$"), "{hash}");
        assert!(is("söcret".to_owned(), hash.clone()).await);
        assert!(!is("secret".to_owned(), hash).await);
        assert!(!is("secret".to_owned(), "secret".into()).await);
    }

    #[test]
    fn a_hash_does_not_say_what_it_may_cost() {
        for (costs, expect) in [
            ("m=19456,t=2,p=1", true),
            ("m=77824,t=8,p=1", true),
            ("m=4194304,t=2,p=1", false),
            ("m=19456,t=1000000,p=1", false),
        ] {
            let text = format!("$argon2id$v=19${costs}$c29tZXNhbHQxMjM0$AAAAAAAAAAAAAAAAAAAAAA");
            let hash = PasswordHash::new(&text).expect("a hash");
            assert_eq!(is_fair(&hash), expect, "{costs}");
        }
    }
}
