//! The shared state from outside: what always holds, and what happens on the worst days.

mod contract;
mod nodes;
mod worst_days;
