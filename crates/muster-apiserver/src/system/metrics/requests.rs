//! Requests, as dashboards count them (`k8s.io/apiserver` `endpoints/metrics` and `endpoints/filters`).
//!
//! Refuses to know: how requests are served. What strangers can think of (paths, methods, resources that are not there)
//! becomes no label.

use std::{sync::Arc, time::Duration};

use super::exposition::{Counter, Exposed, Gauge, Histogram, Metric};
use crate::request::{RequestInfo, Verb, query_pairs};

const COMPONENT: &str = "apiserver";
const LATENCIES: &[f64] = &[
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0,
    10.0, 15.0, 20.0, 30.0, 45.0, 60.0,
];
const SLI_LATENCIES: &[f64] = &[
    0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0,
    30.0, 45.0, 60.0,
];
const RESPONSE_SIZES: &[f64] = &[1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];
const EVENT_SIZES: &[f64] = &[
    1024.0, 2048.0, 4096.0, 8192.0, 16384.0, 32768.0, 65536.0, 131_072.0,
];
const CHECK_LATENCIES: &[f64] = &[
    0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096,
    8.192, 16.384,
];
/// Streams to kubelets: they are reported as `CONNECT`.
const CONNECTS: [&str; 5] = ["log", "exec", "portforward", "attach", "proxy"];

/// Numbers about requests.
pub(crate) struct RequestMetrics {
    total: Metric<Counter>,
    durations: Metric<Histogram>,
    sli_durations: Metric<Histogram>,
    sizes: Metric<Histogram>,
    long_running: Metric<Gauge>,
    terminations: Metric<Counter>,
    events: Metric<Counter>,
    event_sizes: Metric<Histogram>,
    users: Metric<Counter>,
    authentications: Metric<Counter>,
    authentication_durations: Metric<Histogram>,
    authorizations: Metric<Counter>,
    authorization_durations: Metric<Histogram>,
}

/// What a request is counted under.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestLabels {
    verb: &'static str,
    dry_run: &'static str,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    scope: &'static str,
}

/// Counts the events of one watch.
#[derive(Clone, Debug, Default)]
pub(crate) struct WatchTally(Option<(Arc<Counter>, Arc<Histogram>)>);

impl WatchTally {
    /// An event of so many bytes is sent.
    pub(crate) fn count(&self, bytes: usize) {
        if let Some((events, sizes)) = &self.0 {
            events.inc();
            sizes.observe(bytes as f64);
        }
    }
}

impl RequestLabels {
    /// The labels of a request on a resource that there is; otherwise `is_known` is false.
    pub(crate) fn of(info: &RequestInfo, query: Option<&str>, is_known: bool) -> Self {
        let dry_run = dry_run(query);
        let Some(resource) = &info.resource else {
            return Self {
                verb: verb(&info.verb, ""),
                dry_run,
                // Non-resource paths that upstream names are few; the path itself is not ours to trust.
                subresource: plain_path(&info.path).to_owned(),
                ..Self::default()
            };
        };
        let sub = resource.subresource.as_deref().unwrap_or_default();
        let scope = match (&resource.name, &resource.namespace) {
            (Some(_), _) => "resource",
            (None, Some(_)) => "namespace",
            (None, None) => "cluster",
        };
        // A creation has its name in the body, and is one of a resource all the same.
        let scope = if info.verb == Verb::Create && scope != "resource" {
            "resource"
        } else {
            scope
        };
        let verb = verb(&info.verb, sub);
        if !is_known {
            return Self {
                verb,
                dry_run,
                scope,
                ..Self::default()
            };
        }
        Self {
            verb,
            dry_run,
            scope,
            group: resource.group.clone(),
            version: resource.version.clone(),
            resource: resource.resource.clone(),
            subresource: sub.to_owned(),
        }
    }

    /// It is a server-side apply, which metrics tell from other patches.
    pub(crate) fn is_apply(&mut self) {
        self.verb = "APPLY";
    }

    fn reads_objects(&self) -> bool {
        matches!(self.verb, "GET" | "LIST") && !self.resource.is_empty()
    }

    fn without_dry_run(&self) -> [&str; 7] {
        [
            self.verb,
            &self.group,
            &self.version,
            &self.resource,
            &self.subresource,
            self.scope,
            COMPONENT,
        ]
    }
}

/// The verb as metrics have it; strange ones are all the same.
fn verb(verb: &Verb, sub: &str) -> &'static str {
    if CONNECTS.contains(&sub) {
        return "CONNECT";
    }
    match verb {
        Verb::Get | Verb::Head => "GET",
        Verb::List => "LIST",
        Verb::Watch => "WATCH",
        Verb::Create | Verb::Post => "POST",
        Verb::Update | Verb::Put => "PUT",
        Verb::Patch => "PATCH",
        Verb::Delete => "DELETE",
        Verb::DeleteCollection => "DELETECOLLECTION",
        Verb::Options | Verb::Other(_) => "other",
    }
}

fn plain_path(path: &str) -> &'static str {
    const NAMED: [&str; 9] = [
        "/healthz",
        "/livez",
        "/readyz",
        "/metrics",
        "/version",
        "/openapi/v2",
        "/openapi/v3",
        "/api",
        "/apis",
    ];
    NAMED
        .into_iter()
        .find(|named| path.trim_end_matches('/') == *named)
        .unwrap_or_default()
}

fn dry_run(query: Option<&str>) -> &'static str {
    if !query.is_some_and(|query| query.contains("dryRun")) {
        return "";
    }
    let mut values = query_pairs(query).filter(|(key, _)| key == "dryRun");
    match values.next() {
        None => "",
        Some((_, first)) if first == "All" && values.all(|(_, other)| other == "All") => "All",
        Some(_) => "invalid",
    }
}

/// Names of users that are no secret and few (`compressUsername`).
fn user_label(name: &str) -> &'static str {
    match name {
        "admin" => "admin",
        "client" => "client",
        "kube_proxy" => "kube_proxy",
        "kubelet" => "kubelet",
        "system:serviceaccount:kube-system:default" => "system:serviceaccount:kube-system:default",
        email if email.contains('@') => "email_id",
        _ => "other",
    }
}

impl Default for RequestMetrics {
    fn default() -> Self {
        const LABELS: &[&str] = &[
            "verb",
            "group",
            "version",
            "resource",
            "subresource",
            "scope",
            "component",
        ];
        const WITH_DRY_RUN: &[&str] = &[
            "verb",
            "dry_run",
            "group",
            "version",
            "resource",
            "subresource",
            "scope",
            "component",
        ];
        const KIND: &[&str] = &["group", "version", "resource"];
        Self {
            total: Metric::new(
                "apiserver_request_total",
                "[STABLE] Counter of apiserver requests broken out for each verb, dry run value, group, version, resource, scope, component, and HTTP response code.",
                &[
                    "verb",
                    "dry_run",
                    "group",
                    "version",
                    "resource",
                    "subresource",
                    "scope",
                    "component",
                    "code",
                ],
            ),
            durations: Metric::with_buckets(
                "apiserver_request_duration_seconds",
                "[STABLE] Response latency distribution in seconds for each verb, dry run value, group, version, resource, subresource, scope and component.",
                WITH_DRY_RUN,
                LATENCIES,
            ),
            sli_durations: Metric::with_buckets(
                "apiserver_request_sli_duration_seconds",
                "[ALPHA] Response latency distribution (not counting webhook duration and priority & fairness queue wait times) in seconds for each verb, group, version, resource, subresource, scope and component.",
                LABELS,
                SLI_LATENCIES,
            ),
            sizes: Metric::with_buckets(
                "apiserver_response_sizes",
                "[STABLE] Response size distribution in bytes for each group, version, verb, resource, subresource, scope and component.",
                LABELS,
                RESPONSE_SIZES,
            ),
            long_running: Metric::new(
                "apiserver_longrunning_requests",
                "[STABLE] Gauge of all active long-running apiserver requests broken out by verb, group, version, resource, scope and component. Not all requests are tracked this way.",
                LABELS,
            ),
            terminations: Metric::new(
                "apiserver_request_terminations_total",
                "[ALPHA] Number of requests which apiserver terminated in self-defense.",
                &[
                    "verb",
                    "group",
                    "version",
                    "resource",
                    "subresource",
                    "scope",
                    "component",
                    "code",
                ],
            ),
            events: Metric::new(
                "apiserver_watch_events_total",
                "[ALPHA] Number of events sent in watch clients",
                KIND,
            ),
            event_sizes: Metric::with_buckets(
                "apiserver_watch_events_sizes",
                "[ALPHA] Watch event size distribution in bytes",
                KIND,
                EVENT_SIZES,
            ),
            users: Metric::new(
                "authenticated_user_requests",
                "[ALPHA] Counter of authenticated requests broken out by username.",
                &["username"],
            ),
            authentications: Metric::new(
                "authentication_attempts",
                "[ALPHA] Counter of authenticated attempts.",
                &["result"],
            ),
            authentication_durations: Metric::with_buckets(
                "authentication_duration_seconds",
                "[ALPHA] Authentication duration in seconds broken out by result.",
                &["result"],
                CHECK_LATENCIES,
            ),
            authorizations: Metric::new(
                "authorization_attempts_total",
                "[ALPHA] Counter of authorization attempts broken down by result. It can be either 'allowed', 'denied', 'no-opinion' or 'error'.",
                &["result"],
            ),
            authorization_durations: Metric::with_buckets(
                "authorization_duration_seconds",
                "[ALPHA] Authorization duration in seconds broken out by result.",
                &["result"],
                CHECK_LATENCIES,
            ),
        }
    }
}

impl RequestMetrics {
    /// A request is answered. `webhooks` is how long it waited for admission webhooks, `bytes` how large the answer is.
    pub(crate) fn answered(
        &self,
        labels: &RequestLabels,
        code: u16,
        took: Duration,
        webhooks: Duration,
        bytes: Option<u64>,
    ) {
        let [verb, group, version, resource, sub, scope, component] = labels.without_dry_run();
        let dry_run = labels.dry_run;
        let code = code.to_string();
        self.total
            .of(&[
                verb, dry_run, group, version, resource, sub, scope, component, &code,
            ])
            .inc();
        self.durations
            .of(&[
                verb, dry_run, group, version, resource, sub, scope, component,
            ])
            .observe_time(took);
        if dry_run.is_empty() {
            self.sli_durations
                .of(&labels.without_dry_run())
                .observe_time(took.saturating_sub(webhooks));
        }
        if let Some(bytes) = bytes.filter(|_| labels.reads_objects()) {
            self.sizes
                .of(&labels.without_dry_run())
                .observe(bytes as f64);
        }
    }

    /// The gauge of requests of this sort that go on for long.
    pub(crate) fn long_running(&self, labels: &RequestLabels) -> Arc<Gauge> {
        self.long_running.of(&labels.without_dry_run())
    }

    /// A request was broken off so that the server lives.
    pub(crate) fn terminated(&self, labels: &RequestLabels, code: u16) {
        let [verb, group, version, resource, sub, scope, component] = labels.without_dry_run();
        let code = code.to_string();
        self.terminations
            .of(&[verb, group, version, resource, sub, scope, component, &code])
            .inc();
    }

    /// Counts the events of a watch.
    pub(crate) fn tally(&self, labels: &RequestLabels) -> WatchTally {
        let kind = [&*labels.group, &*labels.version, &*labels.resource];
        WatchTally(Some((self.events.of(&kind), self.event_sizes.of(&kind))))
    }

    /// Somebody was authenticated, or nobody.
    pub(crate) fn authenticated(&self, user: Option<&str>, took: Duration) {
        let result = if user.is_some() { "success" } else { "failure" };
        if let Some(user) = user {
            self.users.of(&[user_label(user)]).inc();
        }
        self.authentications.of(&[result]).inc();
        self.authentication_durations
            .of(&[result])
            .observe_time(took);
    }

    /// Somebody was authorised, or not.
    pub(crate) fn authorized(&self, allowed: bool, took: Duration) {
        // RBAC and the Node authorizer never deny, they only have no opinion.
        let result = if allowed { "allowed" } else { "no-opinion" };
        self.authorizations.of(&[result]).inc();
        self.authorization_durations
            .of(&[result])
            .observe_time(took);
    }
}

impl Exposed for RequestMetrics {
    fn expose(&self, out: &mut String) {
        let metrics: [&dyn Exposed; 13] = [
            &self.total,
            &self.durations,
            &self.sli_durations,
            &self.sizes,
            &self.long_running,
            &self.terminations,
            &self.events,
            &self.event_sizes,
            &self.users,
            &self.authentications,
            &self.authentication_durations,
            &self.authorizations,
            &self.authorization_durations,
        ];
        for metric in metrics {
            metric.expose(out);
        }
    }
}

#[cfg(test)]
mod tests;
