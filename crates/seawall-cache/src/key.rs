//! Under what an answer is stored.
