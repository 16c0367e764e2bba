//! The Prometheus text format, version 0.0.4.

use std::fmt::Write;

use crate::cells::{BOUNDS, HistogramSnapshot};

/// The content type to serve it under.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page of metrics in the making. Samples of one metric must be written in a row.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

impl Exposition {
    /// Announces a metric; `kind` is `counter`, `gauge` or `histogram`.
    pub fn metric(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// One sample.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        self.line(name, labels, None, format_args!("{value}"));
    }

    /// One sample that is not a whole number.
    pub fn sample_f64(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.line(name, labels, None, format_args!("{value}"));
    }

    /// The samples of a histogram.
    pub fn histogram(&mut self, name: &str, labels: &[(&str, &str)], snapshot: &HistogramSnapshot) {
        let bucket = format!("{name}_bucket");
        let mut count = 0;
        for (at, in_bucket) in snapshot.buckets.iter().enumerate() {
            count += in_bucket;
            let bound = BOUNDS.get(at).map_or("+Inf".to_owned(), f64::to_string);
            self.line(&bucket, labels, Some(("le", &bound)), format_args!("{count}"));
        }
        self.line(&format!("{name}_sum"), labels, None, format_args!("{}", snapshot.sum));
        self.line(&format!("{name}_count"), labels, None, format_args!("{count}"));
    }

    /// The page.
    pub fn finish(self) -> String {
        self.text
    }

    fn line(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        more: Option<(&str, &str)>,
        value: std::fmt::Arguments<'_>,
    ) {
        self.text.push_str(name);
        let mut opening = '{';
        for (label, value) in labels.iter().copied().chain(more) {
            let _ = write!(self.text, "{opening}{label}=\"");
            for letter in value.chars() {
                match letter {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    letter => self.text.push(letter),
                }
            }
            self.text.push('"');
            opening = ',';
        }
        if opening == ',' {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_and_histograms() {
        let mut page = Exposition::default();
        page.metric("a_total", "counter", "Things.");
        page.sample("a_total", &[("x", "1\"\\")], 3);
        page.sample("a_total", &[], 4);
        let mut snapshot = HistogramSnapshot::default();
        snapshot.buckets[0] = 1;
        snapshot.buckets[16] = 2;
        snapshot.sum = 1.5;
        page.histogram("b", &[("r", "x")], &snapshot);
        let text = page.finish();
        assert!(text.starts_with(
            "# HELP a_total Things.\n# TYPE a_total counter\na_total{x=\"1\\\"\\\\\"} 3\na_total 4\n\
             b_bucket{r=\"x\",le=\"0.0005\"} 1\n"
        ));
        assert!(text.ends_with(
            "b_bucket{r=\"x\",le=\"+Inf\"} 3\nb_sum{r=\"x\"} 1.5\nb_count{r=\"x\"} 3\n"
        ));
    }
}
