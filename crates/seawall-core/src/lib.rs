//! Policies as pure arithmetic: no I/O, no clock, no task, no log.
