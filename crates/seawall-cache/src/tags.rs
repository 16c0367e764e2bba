//! Surrogate keys.
