//! Counters, gauges and histograms by labels, and how they are written: Prometheus' text format 0.0.4.
//!
//! Refuses to know: what is counted. Names are written as they are given; nothing is appended to them.

use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::RwLock;

/// The media type of the text.
pub(crate) const CONTENT_TYPE: &str =
    "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";
/// The most combinations of labels that one metric keeps; what comes after them is not counted.
const MAX_SERIES: usize = 10_000;
/// Stands between the values of a key: no label value has it.
const SEPARATOR: char = '\u{1f}';

/// One number or distribution.
pub(crate) trait Series: Send + Sync {
    /// The word in the `TYPE` line.
    const TYPE: &'static str;
    /// Writes the samples of a series; `labels` are `name="value"` pairs without braces.
    fn write(&self, out: &mut String, name: &str, labels: &str);
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub(crate) fn inc(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Series for Counter {
    const TYPE: &'static str = "counter";
    fn write(&self, out: &mut String, name: &str, labels: &str) {
        sample(out, name, "", labels, self.0.load(Ordering::Relaxed));
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicI64);

impl Gauge {
    /// Sets the number.
    pub(crate) fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Adds to the number.
    pub(crate) fn add(&self, value: i64) {
        self.0.fetch_add(value, Ordering::Relaxed);
    }
}

impl Series for Gauge {
    const TYPE: &'static str = "gauge";
    fn write(&self, out: &mut String, name: &str, labels: &str) {
        sample(out, name, "", labels, self.0.load(Ordering::Relaxed));
    }
}

/// How often something was how large.
#[derive(Debug)]
pub(crate) struct Histogram {
    bounds: &'static [f64],
    /// One for each bound, and one for what is above all of them.
    buckets: Box<[AtomicU64]>,
    /// The bits of the sum.
    sum: AtomicU64,
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            buckets: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }

    /// Counts a value.
    pub(crate) fn observe(&self, value: f64) {
        let above = self.bounds.len();
        let place = self.bounds.iter().position(|bound| value <= *bound);
        self.buckets[place.unwrap_or(above)].fetch_add(1, Ordering::Relaxed);
        let add = |bits| Some((f64::from_bits(bits) + value).to_bits());
        let added = self
            .sum
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        debug_assert!(added.is_ok());
    }

    /// Counts a time in seconds.
    pub(crate) fn observe_time(&self, took: Duration) {
        self.observe(took.as_secs_f64());
    }
}

impl Series for Histogram {
    const TYPE: &'static str = "histogram";
    fn write(&self, out: &mut String, name: &str, labels: &str) {
        let comma = if labels.is_empty() { "" } else { "," };
        let mut below = 0;
        let bounds = self.bounds.iter().map(ToString::to_string);
        for (bound, count) in bounds.chain(["+Inf".to_owned()]).zip(&self.buckets) {
            below += count.load(Ordering::Relaxed);
            let labels = format!("{labels}{comma}le=\"{bound}\"");
            sample(out, name, "_bucket", &labels, below);
        }
        let sum = f64::from_bits(self.sum.load(Ordering::Relaxed));
        sample(out, name, "_sum", labels, sum);
        sample(out, name, "_count", labels, below);
    }
}

fn sample(out: &mut String, name: &str, suffix: &str, labels: &str, value: impl std::fmt::Display) {
    let written = if labels.is_empty() {
        writeln!(out, "{name}{suffix} {value}")
    } else {
        writeln!(out, "{name}{suffix}{{{labels}}} {value}")
    };
    // A `String` takes everything.
    debug_assert!(written.is_ok());
}

/// A metric: its name, what it tells, and a series for each combination of its labels.
pub(crate) struct Metric<S> {
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
    make: Box<dyn Fn() -> S + Send + Sync>,
    series: RwLock<HashMap<String, Arc<S>>>,
}

impl<S: Default + 'static> Metric<S> {
    /// A metric whose series begin at zero.
    pub(crate) fn new(
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
    ) -> Self {
        Self {
            name,
            help,
            labels,
            make: Box::new(S::default),
            series: RwLock::default(),
        }
    }
}

impl Metric<Histogram> {
    /// A metric of distributions with these upper bounds.
    pub(crate) fn with_buckets(
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
        bounds: &'static [f64],
    ) -> Self {
        Self {
            name,
            help,
            labels,
            make: Box::new(move || Histogram::new(bounds)),
            series: RwLock::default(),
        }
    }
}

impl<S> Metric<S> {
    /// The series with these values of the labels, in their order.
    pub(crate) fn of(&self, values: &[&str]) -> Arc<S> {
        debug_assert_eq!(values.len(), self.labels.len(), "{}", self.name);
        let key = key(values);
        if let Some(known) = self.series.read().get(&key) {
            return Arc::clone(known);
        }
        let mut series = self.series.write();
        if series.len() >= MAX_SERIES {
            // Counted into the void.
            return Arc::new((self.make)());
        }
        Arc::clone(series.entry(key).or_insert_with(|| Arc::new((self.make)())))
    }

    /// Forgets every series that `keep` is false for.
    pub(crate) fn retain(&self, keep: impl Fn(&[&str]) -> bool) {
        self.series
            .write()
            .retain(|key, _| keep(&key.split(SEPARATOR).collect::<Vec<_>>()));
    }
}

/// Something that is written at `/metrics`.
pub(crate) trait Exposed: Send + Sync {
    /// Appends the metric's text.
    fn expose(&self, out: &mut String);
}

impl<S: Series> Exposed for Metric<S> {
    fn expose(&self, out: &mut String) {
        let series = self.series.read();
        if series.is_empty() {
            return;
        }
        let (name, help) = (self.name, self.help);
        out.push_str(&format!(
            "# HELP {name} {help}\n# TYPE {name} {}\n",
            S::TYPE
        ));
        let mut sorted: Vec<_> = series.iter().collect();
        sorted.sort_by_key(|(key, _)| key.as_str());
        for (key, one) in sorted {
            one.write(out, name, &self.label_text(key));
        }
    }
}

impl<S> Metric<S> {
    fn label_text(&self, key: &str) -> String {
        let mut text = String::new();
        for (name, value) in self.labels.iter().zip(key.split(SEPARATOR)) {
            if !text.is_empty() {
                text.push(',');
            }
            let value = value
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            text.push_str(&format!("{name}=\"{value}\""));
        }
        text
    }
}

fn key(values: &[&str]) -> String {
    let mut key = String::with_capacity(values.iter().map(|value| value.len() + 1).sum());
    for (place, value) in values.iter().enumerate() {
        if place > 0 {
            key.push(SEPARATOR);
        }
        key.extend(value.chars().filter(|c| *c != SEPARATOR));
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_written_as_prometheus_reads_them() {
        let mut text = String::new();
        let counter: Metric<Counter> = Metric::new("a_count", "All of it.", &["who"]);
        counter.expose(&mut text);
        assert_eq!(text, "", "what has no series is not written");
        counter.of(&["x\"y\\\n"]).inc();
        counter.of(&["x\"y\\\n"]).inc();
        counter.expose(&mut text);
        assert_eq!(
            text,
            "# HELP a_count All of it.\n# TYPE a_count counter\na_count{who=\"x\\\"y\\\\\\n\"} 2\n"
        );
        text.clear();
        let times = Metric::with_buckets("t_seconds", "Times.", &[], &[0.5, 1.0]);
        for value in [0.1, 0.5, 0.75, 7.0] {
            times.of(&[]).observe(value);
        }
        times.expose(&mut text);
        assert!(
            text.ends_with(
                "t_seconds_bucket{le=\"0.5\"} 2\nt_seconds_bucket{le=\"1\"} 3\n\
                 t_seconds_bucket{le=\"+Inf\"} 4\nt_seconds_sum 8.35\nt_seconds_count 4\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn combinations_of_labels_have_a_bound() {
        let counter: Metric<Counter> = Metric::new("n", "N.", &["n"]);
        for n in 0..MAX_SERIES + 10 {
            counter.of(&[&n.to_string()]).inc();
        }
        assert_eq!(counter.series.read().len(), MAX_SERIES);
    }
}
