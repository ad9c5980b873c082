//! A peer to measure against: kube-apiserver over etcd, started in a folder of its own with keys of its own.
//!
//! It knows their flags, and nothing of what is measured on them.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::STANDARD};

use super::{process::Running, target::Target};

/// How long the two may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// The token of the administrator. It is worth nothing outside the few minutes of the benchmark's own server.
const TOKEN: &str = "benchmark";

/// kube-apiserver and its etcd.
pub(super) struct Peer {
    apiserver: Running,
    etcd: Running,
    folder: PathBuf,
    target: Target,
}

impl Peer {
    /// Finds a program by path or in `PATH`.
    pub(super) fn find(name: &str) -> Option<PathBuf> {
        let given = Path::new(name);
        if given.components().count() > 1 {
            return given.exists().then(|| given.to_owned());
        }
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path)
            .map(|folder| folder.join(name))
            .find(|file| file.is_file())
    }

    /// Starts both and waits until they are ready.
    pub(super) async fn start(apiserver: &Path, etcd: &Path) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("muster-bench-peer-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let started = Self::start_in(&folder, apiserver, etcd).await;
        if started.is_err() {
            let _ = std::fs::remove_dir_all(&folder);
        }
        started
    }

    async fn start_in(folder: &Path, apiserver: &Path, etcd: &Path) -> Result<Self> {
        let (client, between) = (free_port()?, free_port()?);
        let etcd_url = format!("http://127.0.0.1:{client}");
        let peer_url = format!("http://127.0.0.1:{between}");
        let mut command = Command::new(etcd);
        command.arg("--data-dir").arg(folder.join("etcd"));
        command.args(["--listen-client-urls", &etcd_url]);
        command.args(["--advertise-client-urls", &etcd_url]);
        command.args(["--listen-peer-urls", &peer_url]);
        command.args(["--initial-advertise-peer-urls", &peer_url]);
        command.args(["--initial-cluster", &format!("default={peer_url}")]);
        command.args(["--quota-backend-bytes", "8589934592"]);
        let etcd = Running::start(command, &folder.join("etcd.log"))?;

        let port = free_port()?;
        let (key, public) = (
            folder.join("service-account.key"),
            folder.join("service-account.pub"),
        );
        let (private_pem, public_pem) = signing_keys()?;
        std::fs::write(&key, private_pem)?;
        std::fs::write(&public, public_pem)?;
        let tokens = folder.join("tokens.csv");
        std::fs::write(&tokens, format!("{TOKEN},admin,admin,system:masters\n"))?;
        let mut command = Command::new(apiserver);
        command.args(["--etcd-servers", &etcd_url]);
        command.args(["--bind-address", "127.0.0.1"]);
        command.args(["--secure-port", &port.to_string()]);
        command.arg("--cert-dir").arg(folder.join("certificates"));
        command.args(["--authorization-mode", "Node,RBAC"]);
        command.args(["--service-cluster-ip-range", "10.96.0.0/12"]);
        command.args(["--service-account-issuer", "https://kubernetes.default.svc"]);
        command.arg("--service-account-key-file").arg(&public);
        command.arg("--service-account-signing-key-file").arg(&key);
        command.arg("--token-auth-file").arg(&tokens);
        let mut apiserver = Running::start(command, &folder.join("kube-apiserver.log"))?;

        let certificate = folder.join("certificates/apiserver.crt");
        let begin = Instant::now();
        while !certificate.exists() {
            apiserver.check().context("kube-apiserver")?;
            if begin.elapsed() > PATIENCE {
                bail!("kube-apiserver has not made its certificate");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        let authority = std::fs::read(&certificate)?;
        let url = format!("https://127.0.0.1:{port}");
        let target = Target::new(&url, &authority, Some(TOKEN), None)?;
        target.ready(PATIENCE).await.context("kube-apiserver")?;
        apiserver.check().context("kube-apiserver")?;
        Ok(Self {
            apiserver,
            etcd,
            folder: folder.to_owned(),
            target,
        })
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// The processes whose memory and processor time count.
    pub(super) fn pids(&self) -> Vec<u32> {
        vec![self.apiserver.pid(), self.etcd.pid()]
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.apiserver.stop();
        self.etcd.stop();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// A key pair as two PEM texts, private and public.
fn signing_keys() -> Result<(String, String)> {
    let failed = |_| anyhow::anyhow!("cannot generate a key");
    let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
    let private = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).map_err(failed)?;
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, private.as_ref())?;
    let public = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).map_err(failed)?;
    Ok((
        pem("PRIVATE KEY", private.as_ref()),
        pem("PUBLIC KEY", public.as_ref()),
    ))
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text
        .as_bytes()
        .chunks(64)
        .map(String::from_utf8_lossy)
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}
