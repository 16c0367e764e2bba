//! Whether an answer may be stored, for how long it is fresh, and whether it may be served.
