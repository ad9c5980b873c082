//! What this server counts, under the names that dashboards know, as Prometheus text.
//!
//! Refuses to know: what the numbers mean to anybody.

mod admission;
mod exposition;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use http::StatusCode;
use parking_lot::Mutex;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

pub(crate) use admission::{AdmissionMetrics, Called};

use super::bytes_response;
use crate::{
    request::{RequestInfo, Verb},
    watch::WatchCache,
    wire::Response,
};

/// Upper bounds of latency buckets, in seconds.
const BUCKETS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0,
];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    verb: String,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    scope: &'static str,
    code: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct LatencyLabels {
    verb: String,
    resource: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KindLabels {
    request_kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResourceLabels {
    resource: String,
}

/// Reads how many reading and writing requests are in flight.
type InflightReader = Box<dyn Fn() -> (usize, usize) + Send + Sync>;

/// The numbers of one server.
pub(crate) struct Metrics {
    registry: Mutex<Registry>,
    requests: Family<RequestLabels, Counter>,
    latency: Family<LatencyLabels, Histogram>,
    inflight: Family<KindLabels, Gauge>,
    objects: Family<ResourceLabels, Gauge>,
    watchers: Family<ResourceLabels, Gauge>,
    memory: Gauge,
    cache: Arc<WatchCache>,
    inflight_now: OnceLock<InflightReader>,
    /// Which resources there are: others are counted without a name, so that nobody can invent labels.
    is_known: Box<dyn Fn(&RequestInfo) -> bool + Send + Sync>,
}

impl Metrics {
    /// Numbers about requests and about what is in `cache`.
    pub(crate) fn new(
        cache: Arc<WatchCache>,
        is_known: Box<dyn Fn(&RequestInfo) -> bool + Send + Sync>,
    ) -> Self {
        let mut registry = Registry::default();
        let requests = Family::default();
        registry.register(
            "apiserver_request",
            "Requests by verb, resource and HTTP code",
            Family::clone(&requests),
        );
        let latency: Family<LatencyLabels, Histogram> =
            Family::new_with_constructor(|| Histogram::new(BUCKETS));
        registry.register_with_unit(
            "apiserver_request_duration",
            "Seconds until a request was answered",
            Unit::Seconds,
            latency.clone(),
        );
        let inflight = Family::default();
        registry.register(
            "apiserver_current_inflight_requests",
            "Requests that are worked on",
            Family::clone(&inflight),
        );
        let objects = Family::default();
        registry.register(
            "apiserver_storage_objects",
            "Stored objects",
            Family::clone(&objects),
        );
        let watchers = Family::default();
        registry.register(
            "apiserver_registered_watchers",
            "Watches that are connected",
            Family::clone(&watchers),
        );
        let memory = Gauge::default();
        registry.register_with_unit(
            "process_resident_memory",
            "Resident memory of this process",
            Unit::Bytes,
            memory.clone(),
        );
        Self {
            registry: Mutex::new(registry),
            requests,
            latency,
            inflight,
            objects,
            watchers,
            memory,
            cache,
            inflight_now: OnceLock::new(),
            is_known,
        }
    }

    /// Where the number of requests in flight is read from.
    pub(crate) fn read_inflight(&self, reader: InflightReader) {
        // Set once, while the server is put together.
        let _ = self.inflight_now.set(reader);
    }

    /// Counts an answered request.
    pub(crate) fn observe(&self, info: &RequestInfo, code: StatusCode, took: Duration) {
        let resource = info
            .resource
            .clone()
            .filter(|_| (self.is_known)(info))
            .unwrap_or_default();
        let scope = match (&info.resource, &resource.name, &resource.namespace) {
            (None, ..) => "",
            (_, Some(_), _) => "resource",
            (_, None, Some(_)) => "namespace",
            _ => "cluster",
        };
        let verb = match &info.verb {
            // Whatever method a stranger has thought of.
            Verb::Other(_) => "OTHER".to_owned(),
            verb => verb.as_str().to_ascii_uppercase(),
        };
        let labels = RequestLabels {
            verb: verb.clone(),
            group: resource.group,
            version: resource.version,
            resource: resource.resource.clone(),
            subresource: resource.subresource.unwrap_or_default(),
            scope,
            code: code.as_u16(),
        };
        self.requests.get_or_create(&labels).inc();
        let labels = LatencyLabels {
            verb,
            resource: resource.resource,
        };
        self.latency
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
    }

    /// Answers `/metrics`.
    pub(super) fn serve(&self) -> Response {
        self.refresh();
        let mut text = String::new();
        if encode(&mut text, &self.registry.lock()).is_err() {
            text.clear();
        }
        bytes_response(
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            text,
        )
    }

    fn refresh(&self) {
        for (path, cache) in self.cache.all() {
            let (group, plural) = path.split_once('/').unwrap_or(("core", &path));
            let resource = if group == "core" {
                plural.to_owned()
            } else {
                format!("{plural}.{group}")
            };
            let labels = ResourceLabels { resource };
            self.objects.get_or_create(&labels).set(signed(cache.len()));
            self.watchers
                .get_or_create(&labels)
                .set(signed(cache.watchers()));
        }
        if let Some(reader) = self.inflight_now.get() {
            let (reading, writing) = reader();
            for (request_kind, count) in [("readOnly", reading), ("mutating", writing)] {
                self.inflight
                    .get_or_create(&KindLabels { request_kind })
                    .set(signed(count));
            }
        }
        self.memory.set(resident_bytes().unwrap_or(0));
    }
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Resident memory as `/proc/self/status` tells it.
fn resident_bytes() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: i64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kibibytes * 1024)
}
