//! What this server counts, under the names that dashboards know, as Prometheus text.
//!
//! Refuses to know: what the numbers mean to anybody.

mod admission;
mod audit;
mod exposition;
mod process;
mod requests;

use std::sync::{Arc, OnceLock};

use muster_machinery::resources::version_info;

pub(crate) use admission::{AdmissionMetrics, Called};
pub(crate) use audit::AuditMetrics;
pub(crate) use exposition::Gauge;
pub(crate) use requests::{RequestLabels, RequestMetrics, WatchTally};

use super::bytes_response;
use crate::{request::RequestInfo, watch::WatchCache, wire::Response};
use exposition::{CONTENT_TYPE, Exposed, Metric};

/// Reads how many reading and writing requests are in flight.
type InflightReader = Box<dyn Fn() -> (usize, usize) + Send + Sync>;

/// The numbers of one server.
pub(crate) struct Metrics {
    pub(crate) requests: RequestMetrics,
    pub(crate) admission: Arc<AdmissionMetrics>,
    pub(crate) audit: Arc<AuditMetrics>,
    inflight: Metric<Gauge>,
    stored: Metric<Gauge>,
    objects: Metric<Gauge>,
    watchers: Metric<Gauge>,
    build: Metric<Gauge>,
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
        let build: Metric<Gauge> = Metric::new(
            "kubernetes_build_info",
            "[ALPHA] A metric with a constant '1' value labeled by major, minor, git version, git commit, git tree state, build date, Go version, and compiler from which Kubernetes was built, and platform on which it is running.",
            &["major", "minor", "git_version", "platform"],
        );
        let version = serde_json::to_value(version_info()).unwrap_or_default();
        let part = |field: &str| version[field].as_str().unwrap_or_default().to_owned();
        build
            .of(&[
                &part("major"),
                &part("minor"),
                &part("gitVersion"),
                &part("platform"),
            ])
            .set(1);
        Self {
            requests: RequestMetrics::default(),
            admission: Arc::default(),
            audit: Arc::default(),
            inflight: Metric::new(
                "apiserver_current_inflight_requests",
                "[STABLE] Maximal number of currently used inflight request limit of this apiserver per request kind in last second.",
                &["request_kind"],
            ),
            stored: Metric::new(
                "apiserver_storage_objects",
                "[STABLE] [DEPRECATED, consider using apiserver_resource_objects instead] Number of stored objects at the time of last check split by kind. In case of a fetching error, the value will be -1.",
                &["resource"],
            ),
            objects: Metric::new(
                "apiserver_resource_objects",
                "[ALPHA] Number of stored objects at the time of last check split by kind. In case of a fetching error, the value will be -1.",
                &["group", "resource"],
            ),
            watchers: Metric::new(
                "apiserver_registered_watchers",
                "[ALPHA] Number of currently registered watchers for a given resource.",
                &["group", "resource"],
            ),
            build,
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

    /// What a request is counted under.
    pub(crate) fn labels(&self, info: &RequestInfo, query: Option<&str>) -> RequestLabels {
        RequestLabels::of(info, query, (self.is_known)(info))
    }

    /// Answers `/metrics`.
    pub(super) fn serve(&self) -> Response {
        self.refresh();
        let mut text = String::new();
        let metrics: [&dyn Exposed; 8] = [
            &self.requests,
            &*self.admission,
            &*self.audit,
            &self.inflight,
            &self.stored,
            &self.objects,
            &self.watchers,
            &self.build,
        ];
        for metric in metrics {
            metric.expose(&mut text);
        }
        process::expose(&mut text);
        bytes_response(CONTENT_TYPE, text)
    }

    fn refresh(&self) {
        let mut seen = Vec::new();
        for (path, cache) in self.cache.all() {
            let (group, plural) = path.split_once('/').unwrap_or(("core", &path));
            let group = if group == "core" { "" } else { group };
            let resource = if group.is_empty() {
                plural.to_owned()
            } else {
                format!("{plural}.{group}")
            };
            let count = signed(cache.len());
            self.stored.of(&[&resource]).set(count);
            self.objects.of(&[group, plural]).set(count);
            self.watchers
                .of(&[group, plural])
                .set(signed(cache.watchers()));
            seen.push(resource);
        }
        // A kind that somebody has taken away is not shown for ever.
        self.stored
            .retain(|labels| labels.iter().all(|one| seen.iter().any(|own| own == one)));
        if let Some(reader) = self.inflight_now.get() {
            let (reading, writing) = reader();
            for (request_kind, count) in [("readOnly", reading), ("mutating", writing)] {
                self.inflight.of(&[request_kind]).set(signed(count));
            }
        }
    }
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
