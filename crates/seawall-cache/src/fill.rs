//! What is being fetched, and who waits for it.
