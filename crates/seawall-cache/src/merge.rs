//! What a 304 changes of what is stored (RFC 9111 §4.3.4).
