//! Phase tls-bootstrap: the key is on disk before the cluster hears of it, so that a join that was killed goes on
//! with the same request; the certificate is there before the kubelet starts, so no token ever lies on disk.

use super::{Ingredients, Phase, Steps};
use crate::{Kubelet, SecretName, Step, paths};

const PHASE: Phase = Phase::TlsBootstrap;

pub(super) fn contribute(ingredients: &Ingredients<'_>, steps: &mut Steps) {
    let mut before_claim: &[&str] = &[];
    if let Kubelet::System { unit } = &ingredients.kubelet {
        // A kubelet that runs, or that its unit restarts over and over, would write into the directory we claim.
        steps.add(
            PHASE,
            "stop-kubelet",
            &[],
            Step::StopService { unit: unit.clone() },
        );
        before_claim = &["stop-kubelet"];
    }
    steps.add(
        PHASE,
        "claim-kubelet-dir",
        before_claim,
        Step::ClaimDir {
            path: paths::KUBELET_DIR.into(),
            mode: 0o755,
        },
    );
    // Claimed, not made: the kubelet puts its serving certificate beside ours.
    steps.add(
        PHASE,
        "make-kubelet-pki",
        &["claim-kubelet-dir"],
        Step::ClaimDir {
            path: paths::KUBELET_PKI_DIR.into(),
            mode: 0o755,
        },
    );
    if !ingredients.answers.certified {
        request_certificate(ingredients, steps);
    }
    certificate_files(ingredients, steps);
}

/// The key is shown to the cluster only once it is on disk.
fn request_certificate(ingredients: &Ingredients<'_>, steps: &mut Steps) {
    steps.add(
        PHASE,
        "save-key",
        &["make-kubelet-pki"],
        Step::WriteSecret {
            path: paths::KUBELET_KEY_TMP.into(),
            secret: SecretName::KubeletKey,
        },
    );
    let node_name = ingredients.request.node_name.to_string();
    steps.add(
        PHASE,
        "request-certificate",
        &["save-key"],
        Step::RequestCertificate { node_name },
    );
}

fn certificate_files(ingredients: &Ingredients<'_>, steps: &mut Steps) {
    let pem = client_pem(ingredients);
    let certified = ingredients.answers.certified;
    let after: &[&str] = if certified {
        &["make-kubelet-pki"]
    } else {
        &["request-certificate", "make-kubelet-pki"]
    };
    steps.add(
        PHASE,
        "save-client-pem",
        after,
        Step::WriteSecret {
            path: pem.clone(),
            secret: SecretName::KubeletClient,
        },
    );
    steps.add(
        PHASE,
        "link-client-pem",
        &["save-client-pem"],
        Step::Symlink {
            path: paths::KUBELET_CLIENT_CURRENT.into(),
            target: ingredients.request.root.real(&pem),
        },
    );
    if !certified {
        steps.add(
            PHASE,
            "discard-key",
            &["link-client-pem"],
            Step::Discard {
                path: paths::KUBELET_KEY_TMP.into(),
            },
        );
    }
}

/// `kubelet-client-2026-11-21-05-50-05.pem`, as the kubelet's certificate store names it.
fn client_pem(ingredients: &Ingredients<'_>) -> String {
    let time = ingredients.answers.now.strftime("%Y-%m-%d-%H-%M-%S");
    format!("{}/kubelet-client-{time}.pem", paths::KUBELET_PKI_DIR)
}
