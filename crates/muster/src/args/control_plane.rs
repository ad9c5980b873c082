//! The flags of `muster join` that make a control-plane node, as kubeadm has them, and what follows from them.

use crate::exit::Failure;
use clap::Args;
use muster_kubeadm::shared_certs::CertificateKey;
use muster_plan::{ControlPlaneRequest, Taint};
use std::net::IpAddr;
use std::path::PathBuf;

const HEADING: &str = "A control-plane node";
/// Where a control-plane node has its administrator's kubeconfig.
const ADMIN_CONF: &str = "etc/kubernetes/admin.conf";

/// What makes the node a control-plane node.
#[derive(Args, Clone, Debug)]
pub(crate) struct ControlPlaneFlags {
    /// Make it a control-plane node: API server, controller manager, scheduler, and etcd where the cluster's own is stacked
    #[arg(long, help_heading = HEADING)]
    pub(crate) control_plane: bool,
    /// Opens the certificates that control-plane nodes share: 64 hexadecimal digits; `-` reads it from standard input
    #[arg(
        long,
        env = "MUSTER_CERTIFICATE_KEY",
        hide_env_values = true,
        value_name = "KEY",
        requires = "control_plane",
        help_heading = HEADING
    )]
    pub(crate) certificate_key: Option<String>,
    /// A file whose first line is the certificate key
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "certificate_key",
        requires = "control_plane",
        help_heading = HEADING
    )]
    pub(crate) certificate_key_file: Option<PathBuf>,
    /// The address that its API server and etcd announce; else the one from which this machine reaches the cluster
    #[arg(long, value_name = "ADDRESS", requires = "control_plane", help_heading = HEADING)]
    pub(crate) apiserver_advertise_address: Option<IpAddr>,
    /// The port of its API server
    #[arg(
        long,
        value_name = "PORT",
        default_value_t = 6443,
        value_parser = clap::value_parser!(u16).range(1..),
        help_heading = HEADING
    )]
    pub(crate) apiserver_bind_port: u16,
}

impl ControlPlaneFlags {
    /// The certificate key, if one was given.
    pub(crate) fn key(&self) -> Result<Option<CertificateKey>, Failure> {
        let text = match (&self.certificate_key, &self.certificate_key_file) {
            (Some(text), _) if text == "-" => crate::entropy::line_of_standard_input()?,
            (Some(text), _) => text.clone(),
            (None, Some(path)) => crate::entropy::first_line_of(path)?,
            (None, None) => return Ok(None),
        };
        CertificateKey::parse(text.trim())
            .map(Some)
            .map_err(|error| Failure::usage("the certificate key cannot be used").because(&error))
    }

    /// What is asked of the plan. Without `taints` the Node gets kubeadm's.
    pub(crate) fn request(&self, has_key: bool, taints: &[Taint]) -> Option<ControlPlaneRequest> {
        self.control_plane.then(|| ControlPlaneRequest {
            advertise_address: self.apiserver_advertise_address,
            bind_port: self.apiserver_bind_port,
            has_certificate_key: has_key,
            taints: (!taints.is_empty()).then(|| taints.to_vec()),
            ..ControlPlaneRequest::default()
        })
    }

    /// The administrator's kubeconfig that is on the machine already: with it nothing has to be discovered.
    pub(crate) fn admin_conf(&self, root: &std::path::Path) -> Option<PathBuf> {
        let path = root.join(ADMIN_CONF);
        (self.control_plane && path.is_file()).then_some(path)
    }
}
