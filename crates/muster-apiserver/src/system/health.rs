//! Is this server alive, and may it get requests? `/healthz`, `/livez`, `/readyz`, their single checks, and
//! the `verbose` and `exclude` parameters, with kube-apiserver's texts.
//!
//! Refuses to know: how the checks' facts came about.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use http::{HeaderValue, StatusCode, header};
use muster_storage::{Store, StoreError};
use parking_lot::Mutex;

use crate::{
    request::query_pairs,
    wire::{Response, ResponseBody},
};

/// The facts that checks go by.
pub(crate) struct Health {
    store: Mutex<Result<(), StoreError>>,
    bootstrapped: AtomicBool,
    stopping: AtomicBool,
}

/// One check and where it belongs.
struct Check {
    name: &'static str,
    only_ready: bool,
    passes: fn(&Health) -> bool,
}

const CHECKS: [Check; 6] = [
    Check {
        name: "ping",
        only_ready: false,
        passes: |_| true,
    },
    Check {
        name: "log",
        only_ready: false,
        passes: |_| true,
    },
    Check {
        name: "etcd",
        only_ready: false,
        passes: |health| health.store.lock().is_ok(),
    },
    Check {
        name: "poststarthook/rbac/bootstrap-roles",
        only_ready: true,
        passes: |health| health.bootstrapped.load(Ordering::Acquire),
    },
    Check {
        name: "informer-sync",
        only_ready: true,
        passes: |health| health.bootstrapped.load(Ordering::Acquire),
    },
    Check {
        name: "shutdown",
        only_ready: true,
        passes: |health| !health.stopping.load(Ordering::Acquire),
    },
];

impl Health {
    /// A server that has not finished starting.
    pub(crate) fn new() -> Self {
        Self {
            store: Mutex::new(Ok(())),
            bootstrapped: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
        }
    }

    /// The default objects are there: requests may come.
    pub(crate) fn set_bootstrapped(&self) {
        self.bootstrapped.store(true, Ordering::Release);
    }

    /// No further requests should come.
    pub(crate) fn set_stopping(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Tries the store. Called now and then, so that a check never waits for a disk.
    pub(crate) async fn probe(&self, store: &Arc<dyn Store>) {
        let answer = store.get("/registry/health").await.map(|_| ());
        if let Err(error) = &answer {
            tracing::error!(%error, "the store does not answer");
        }
        *self.store.lock() = answer;
    }

    /// Answers a health path.
    pub(crate) fn serve(&self, path: &str, query: Option<&str>) -> Response {
        let path = path.trim_start_matches('/');
        let (root, single) = path.split_once('/').unwrap_or((path, ""));
        let relevant: Vec<&Check> = CHECKS
            .iter()
            .filter(|check| root == "readyz" || !check.only_ready)
            .collect();
        if !single.is_empty() {
            return match relevant.iter().find(|check| check.name == single) {
                Some(check) if (check.passes)(self) => text(StatusCode::OK, "ok".to_owned()),
                Some(_) => text(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "internal server error: check failed\n".to_owned(),
                ),
                None => text(StatusCode::NOT_FOUND, "404 page not found\n".to_owned()),
            };
        }
        self.all(root, &relevant, query)
    }

    fn all(&self, root: &str, checks: &[&Check], query: Option<&str>) -> Response {
        let mut excluded: Vec<String> = query_pairs(query)
            .filter(|(key, _)| key == "exclude")
            .map(|(_, name)| name)
            .collect();
        let verbose = query_pairs(query).any(|(key, _)| key == "verbose");
        let mut report = String::new();
        let mut failed = Vec::new();
        for check in checks {
            let (name, mark) = (
                check.name,
                excluded.iter().position(|name| name == check.name),
            );
            if let Some(at) = mark {
                excluded.swap_remove(at);
                report.push_str(&format!("[+]{name} excluded: ok\n"));
            } else if (check.passes)(self) {
                report.push_str(&format!("[+]{name} ok\n"));
            } else {
                failed.push(name);
                report.push_str(&format!("[-]{name} failed: reason withheld\n"));
            }
        }
        if !excluded.is_empty() {
            let names: Vec<String> = excluded.iter().map(|name| format!("{name:?}")).collect();
            report.push_str(&format!(
                "warn: some health checks cannot be excluded: no matches for {}\n",
                names.join(", ")
            ));
        }
        if !failed.is_empty() {
            tracing::debug!(?failed, "{root} check failed");
            report.push_str(&format!("{root} check failed\n"));
            return text(StatusCode::INTERNAL_SERVER_ERROR, report);
        }
        if !verbose {
            return text(StatusCode::OK, "ok".to_owned());
        }
        report.push_str(&format!("{root} check passed\n"));
        text(StatusCode::OK, report)
    }
}

fn text(code: StatusCode, body: String) -> Response {
    let mut response = Response::new(ResponseBody::full(body));
    *response.status_mut() = code;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_alive_before_it_is_ready() {
        let health = Health::new();
        assert_eq!(health.serve("/livez", None).status(), 200);
        assert_eq!(health.serve("/readyz", None).status(), 500);
        assert_eq!(health.serve("/readyz/ping", None).status(), 200);
        health.set_bootstrapped();
        assert_eq!(health.serve("/readyz", None).status(), 200);
        health.set_stopping();
        assert_eq!(health.serve("/readyz", Some("verbose")).status(), 500);
        assert_eq!(
            health.serve("/readyz", Some("exclude=shutdown")).status(),
            200
        );
        assert_eq!(health.serve("/livez/nothing", None).status(), 404);
    }
}
