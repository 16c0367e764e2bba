//! Which requests an answer is for (RFC 9111 §4.1).
