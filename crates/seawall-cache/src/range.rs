//! Byte ranges (RFC 9110 §14).
