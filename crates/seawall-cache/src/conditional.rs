//! Preconditions (RFC 9110 §13), of clients and of our own.
