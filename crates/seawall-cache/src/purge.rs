//! What was invalidated, by generation counters.
