//! What the RFCs say of caches, clause by clause. The name of each case begins with the clause:
//! `9111-4.2.1` is section 4.2.1 of RFC 9111; `rule` is a rule of a route.

mod age;
mod conditional;
mod directives;
mod invalidation;
mod key;
mod lifetime;
mod merge;
mod parts;
mod range;
mod standing;
mod status;
mod storing;
mod tags;
mod vary;
