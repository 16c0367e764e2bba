//! What the program tells about itself: metrics and the access log.
//!
//! Workers write to cells of their own without a lock or a locked instruction; whoever asks
//! (`/metrics`) adds the cells up. Names and label values are bounded by the configuration.
//!
//! * [`cells`]: counters and histograms with one writer and any number of readers
//! * [`metrics`]: every metric there is, by name
//! * [`exposition`]: the Prometheus text format
//! * [`access_log`]: one JSON line a request
//! * [`event`]: what an application is told of an answer
//! * [`json`]: escaping for the texts that are written by hand

pub mod access_log;
pub mod cells;
pub mod event;
pub mod exposition;
pub mod json;
mod line;
pub mod metrics;

pub use access_log::AccessLog;
pub use metrics::Metrics;
