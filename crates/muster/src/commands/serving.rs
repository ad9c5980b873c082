//! The kubelet's serving certificate at the end of a join: whether it is there, and waiting for it if that was asked for.
//!
//! A Node is Ready without it, but the API server then refuses the kubelet's certificate: no logs, no exec, no metrics.
//! Looks at the machine's files only; what the kubelet asked for and who signs it is the cluster's business.

use crate::exit::{CLUSTER, Failure};
use crate::printer::{Output, Printer};
use muster_fleet::JoinOptions;
use muster_plan::paths;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where the kubelet keeps the certificate that the cluster issued (`kubelet-server-current.pem` of its certificate store).
const ISSUED: &str = "/var/lib/kubelet/pki/kubelet-server-current.pem";
/// How long is looked where nobody asked to wait: an approver that is awake needs less.
const GLANCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(100);

/// Looks for the certificate for a moment, or waits for so many `seconds`. Nothing is said where the kubelet does not
/// ask the cluster for one.
///
/// # Errors
/// `serving-certificate-missing` when it was waited for and did not come; the node stays joined.
pub(crate) async fn await_certificate(
    root: &Path,
    seconds: Option<u32>,
    options: &JoinOptions,
    printer: Printer,
) -> Result<(), Failure> {
    if !is_asked_for(root) {
        return Ok(());
    }
    let patience = seconds.map_or(GLANCE, |seconds| Duration::from_secs(seconds.into()));
    let issued = below(root, ISSUED);
    let begin = Instant::now();
    while !issued.exists() {
        if begin.elapsed() >= patience {
            return missing(options, seconds.is_some(), printer);
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = options.cancel.cancelled() => return missing(options, false, printer),
        }
    }
    Ok(())
}

fn missing(options: &JoinOptions, waited: bool, printer: Printer) -> Result<(), Failure> {
    let name = &options.request.node_name;
    let what = format!(
        "the kubelet of {name} has no serving certificate yet: no logs and exec until then"
    );
    let cure = "see its request: kubectl get csr --field-selector spec.signerName=kubernetes.io/kubelet-serving";
    if waited {
        return Err(Failure::new("serving-certificate-missing", CLUSTER, what)
            .cure(format!("the node has joined and stays; {cure}"))
            .cure("somebody approves it: kubectl certificate approve NAME"));
    }
    if printer.output() == Output::Text {
        printer.note(format!("{what} ({cure})"));
    }
    Ok(())
}

/// Only the machine's own kubelet serves anything, and asks if its configuration says so.
fn is_asked_for(root: &Path) -> bool {
    let unit = format!("{}/{}", paths::UNIT_DIR, paths::MUSTER_KUBELET_UNIT);
    let is_built_in = below(root, paths::KUBELET_PID).exists() || below(root, &unit).exists();
    let text = std::fs::read_to_string(below(root, paths::KUBELET_CONFIG)).unwrap_or_default();
    !is_built_in && says_so(&text)
}

fn says_so(config: &str) -> bool {
    let options = serde_saphyr::options! {
        with_snippet: false,
    };
    let config = serde_saphyr::from_str_with_options::<serde_json::Value>(config, options);
    config.is_ok_and(|config| config["serverTLSBootstrap"] == true)
}

fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_kubelet_that_asks_for_a_certificate_is_waited_for() {
        let root = tempfile::tempdir().unwrap();
        assert!(!is_asked_for(root.path()));
        let config = below(root.path(), paths::KUBELET_CONFIG);
        std::fs::create_dir_all(config.parent().unwrap()).unwrap();
        std::fs::write(&config, "kind: KubeletConfiguration\n").unwrap();
        assert!(!is_asked_for(root.path()));
        std::fs::write(&config, "serverTLSBootstrap: true\n").unwrap();
        assert!(is_asked_for(root.path()));
        let pid = below(root.path(), paths::KUBELET_PID);
        std::fs::create_dir_all(pid.parent().unwrap()).unwrap();
        std::fs::write(&pid, "1").unwrap();
        assert!(!is_asked_for(root.path()));
    }
}
