//! The HTTP cache: what may be stored and for how long (RFC 9111), and the store of a node.
//!
//! Pure, without clock, I/O, task or log — time and randomness are arguments:
//!
//! * [`directives`]: `Cache-Control` and its targeted forms, read as RFC 9111 §5.2 and RFC 9213 say
//! * [`freshness`]: whether an answer may be stored, for how long it is fresh, and whether it may
//!   be served
//! * [`conditional`]: preconditions (RFC 9110 §13), of clients and of our own
//! * [`range`]: byte ranges (RFC 9110 §14)
//! * [`stored`]: header fields as they are stored
//! * [`merge`]: what a 304 changes of what is stored (RFC 9111 §4.3.4)
//! * [`invalidation`]: what a request that changes something makes invalid (RFC 9111 §4.4)
//! * [`vary`]: which requests an answer is for (RFC 9111 §4.1)
//! * [`key`]: under what an answer is stored
//! * [`status`]: the field `Cache-Status` (RFC 9211)
//! * [`tags`]: surrogate keys
//! * [`shared`]: a stored answer as it travels between nodes
//! * [`eviction`]: what is given up when there is no room
//!
//! The store, which all workers of a node share:
//!
//! * [`object`]: a stored answer
//! * [`store`]: the node's store: memory in front of disk
//! * [`memory`]: the memory tier
//! * [`disk`]: the disk tier
//! * [`purge`]: what was invalidated, by generation counters
//! * [`fill`]: what is being fetched, and who waits for it

pub mod conditional;
pub mod directives;
pub mod disk;
pub mod eviction;
pub mod fill;
pub mod freshness;
pub mod invalidation;
pub mod key;
pub mod memory;
pub mod merge;
pub mod object;
pub mod purge;
pub mod range;
pub mod shared;
pub mod status;
pub mod store;
pub mod stored;
pub mod tags;
pub mod vary;

/// A moment: milliseconds since 1970, by a clock that never goes back while the process runs.
pub type Millis = u64;
