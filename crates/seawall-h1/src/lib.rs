//! HTTP/1.1 codec: bytes in, events out, no I/O.
//!
//! `httparse` splits a head into tokens; what those tokens *mean* — framing, strictness, what a
//! target is, where a body ends — is decided here, after RFC 9110 and RFC 9112 and what is known
//! of request smuggling. Nothing here reads a socket, a clock or the configuration, and no input
//! makes it panic or allocate more than the limits it is given.
//!
//! * [`parse`]: the head of a request or an answer, complete or not yet
//! * [`head`]: what a head is, and [`headers`]: its flat list of fields
//! * [`target`]: forms of a request target, and the normal form of a path
//! * [`body`]: where a body ends, decoded as it comes
//! * [`encode`]: heads and chunks to bytes
//! * [`error`]: everything that can be wrong with a message

pub mod body;
pub mod encode;
pub mod error;
pub mod fields;
pub mod head;
pub mod headers;
pub mod known;
pub mod parse;
pub mod target;

pub use body::{BodyDecoder, BodyLength, Piece};
pub use error::BadMessage;
pub use head::{Method, RequestHead, ResponseHead, Version};
pub use headers::Headers;
pub use known::Known;
pub use parse::{HeadLimits, HeadProgress};
