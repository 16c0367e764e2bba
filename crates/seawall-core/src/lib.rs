//! Policies as pure arithmetic: no I/O, no clock, no task, no log. Time and randomness are
//! arguments, so that every policy can be simulated from a seed.
//!
//! * [`balance`]: which server of an upstream takes the next request
//! * [`breaker`]: when an upstream is given time to recover
//! * [`eject`]: which servers are taken out because of what they answer
//! * [`health`]: what the active checks of a server say
//! * [`hedge`]: when a second attempt is begun beside the first
//! * [`jitter`]: random times
//! * [`proportion`]: what a share of failures says of the rate behind it
//! * [`queue`]: where requests wait for a place
//! * [`proxy_protocol`]: the header that tells whose connection a proxy carries
//! * [`random`]: the small generator that the doors and the simulations feed them with
//! * [`retry`]: what may be tried again, and when
//! * [`window`]: exact counts over the last seconds

pub mod balance;
pub mod breaker;
pub mod eject;
pub mod health;
pub mod hedge;
pub mod jitter;
pub mod proportion;
pub mod proxy_protocol;
pub mod queue;
pub mod random;
pub mod retry;
pub mod window;
