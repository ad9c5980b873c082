//! Real etcds on loopback for tests: the program `etcd` from `PATH`, over mutual TLS with certificates of their own.
//!
//! Everything dies and disappears with the value.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use muster_identity::pki::{IssueRequest, Validity};
use muster_identity::{
    CertificateAuthority, CertificateBundle, PrivateKey, Subject, SubjectAltNames, Usage,
};
use tempfile::TempDir;

use super::EtcdClient;
use crate::tls::ClientCertificate;

/// How long a cluster of etcds may take to come up.
const START: Duration = Duration::from_secs(40);

/// Where one etcd listens.
#[derive(Clone, Debug)]
pub struct Seat {
    /// Its name.
    pub name: String,
    /// Its URL for clients.
    pub client_url: String,
    /// Its URL for its peers.
    pub peer_url: String,
}

struct Running {
    seat: Seat,
    process: Child,
}

/// Several etcds that are one cluster.
pub struct Etcds {
    dir: TempDir,
    ca: CertificateAuthority,
    running: Vec<Running>,
}

fn entropy(bytes: &mut [u8]) {
    for byte in bytes {
        *byte = (crate::retry::chance() * 256.0) as u8;
    }
}

/// An authority for one test.
///
/// # Panics
/// Never in practice: the crypto library makes a key.
#[must_use]
pub fn authority() -> CertificateAuthority {
    let life = SignedDuration::from_hours(24);
    CertificateAuthority::new_self_signed("etcd-ca", Timestamp::now(), life, &mut entropy).unwrap()
}

/// A certificate for loopback that serves and asks, and its key.
///
/// # Panics
/// When the authority cannot sign.
#[must_use]
pub fn certified(ca: &CertificateAuthority, name: &str) -> ClientCertificate {
    let key = PrivateKey::generate(&mut entropy).unwrap();
    let request = IssueRequest {
        subject: Subject::new::<String>(name, []),
        sans: SubjectAltNames::new(["localhost"], [IpAddr::V4(Ipv4Addr::LOCALHOST)]),
        usages: vec![
            Usage::DigitalSignature,
            Usage::KeyEncipherment,
            Usage::ServerAuth,
            Usage::ClientAuth,
        ],
        public_key: key.public_key().clone(),
        validity: Validity::For(SignedDuration::from_hours(12)),
    };
    let certificate = ca.issue(&request, Timestamp::now(), &mut entropy).unwrap();
    let chain = CertificateBundle::from_pem(certificate.to_pem().as_bytes()).unwrap();
    ClientCertificate { chain, key }
}

/// A port of loopback that nobody has at the moment.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

impl Etcds {
    /// Starts one etcd for each name, as one new cluster, and waits until all are well.
    ///
    /// # Panics
    /// When there is no etcd in `PATH`, or they do not come up.
    pub async fn start(names: &[&str]) -> Self {
        let mut etcds = Self {
            dir: TempDir::new().unwrap(),
            ca: authority(),
            running: Vec::new(),
        };
        fs::write(etcds.path("ca.crt"), etcds.ca.certificate().to_pem()).unwrap();
        let seats: Vec<Seat> = names.iter().map(|name| etcds.seat(name)).collect();
        let all: Vec<String> = seats
            .iter()
            .map(|seat| format!("{}={}", seat.name, seat.peer_url))
            .collect();
        for seat in &seats {
            etcds.launch(seat, &all.join(","), "new");
        }
        etcds.await_all(seats.len()).await;
        etcds
    }

    async fn await_all(&self, count: usize) {
        let deadline = tokio::time::Instant::now() + START;
        loop {
            let health = match self.try_client() {
                Some(mut client) => client.health().await,
                None => panic!("no etcd was started"),
            };
            let well = health
                .as_ref()
                .map_or(0, |all| all.iter().filter(|one| one.state.is_ok()).count());
            if well == count {
                return;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "etcd did not come up: {health:?}\n{}",
                self.logs()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The authority of all of them.
    #[must_use]
    pub fn ca(&self) -> &CertificateAuthority {
        &self.ca
    }

    /// Where their files are; the logs are `NAME.log`.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A place for another etcd, with its certificate. Nothing is started.
    ///
    /// # Panics
    /// When files cannot be written.
    #[must_use]
    pub fn seat(&self, name: &str) -> Seat {
        let identity = certified(&self.ca, name);
        fs::write(self.path(&format!("{name}.crt")), identity.chain.to_pem()).unwrap();
        fs::write(
            self.path(&format!("{name}.key")),
            identity.key.to_pem().expose(),
        )
        .unwrap();
        Seat {
            name: name.to_owned(),
            client_url: format!("https://127.0.0.1:{}", free_port()),
            peer_url: format!("https://127.0.0.1:{}", free_port()),
        }
    }

    /// Starts an etcd that joins the others. `members` is the text of `--initial-cluster`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn join(&mut self, seat: &Seat, members: &str) {
        self.launch(seat, members, "existing");
    }

    fn launch(&mut self, seat: &Seat, members: &str, state: &str) {
        let path = |name: String| self.path(&name).to_string_lossy().into_owned();
        let (certificate, key) = (
            path(format!("{}.crt", seat.name)),
            path(format!("{}.key", seat.name)),
        );
        let ca = path("ca.crt".to_owned());
        let log = File::create(self.path(&format!("{}.log", seat.name))).unwrap();
        let process = Command::new("etcd")
            .args([
                "--name",
                &seat.name,
                "--data-dir",
                &path(format!("{}.data", seat.name)),
            ])
            .args([
                "--listen-client-urls",
                &seat.client_url,
                "--advertise-client-urls",
                &seat.client_url,
            ])
            .args([
                "--listen-peer-urls",
                &seat.peer_url,
                "--initial-advertise-peer-urls",
                &seat.peer_url,
            ])
            .args([
                "--initial-cluster",
                members,
                "--initial-cluster-state",
                state,
            ])
            .args([
                "--cert-file",
                &certificate,
                "--key-file",
                &key,
                "--trusted-ca-file",
                &ca,
            ])
            .args([
                "--peer-cert-file",
                &certificate,
                "--peer-key-file",
                &key,
                "--peer-trusted-ca-file",
                &ca,
            ])
            .args(["--client-cert-auth", "--peer-client-cert-auth"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("etcd must be in PATH: cargo xtask test brings it");
        self.running.push(Running {
            seat: seat.clone(),
            process,
        });
    }

    /// Kills an etcd without a chance to say goodbye.
    ///
    /// # Panics
    /// When there is none of that name.
    pub fn kill(&mut self, name: &str) {
        let at = self.running.iter().position(|one| one.seat.name == name);
        let mut one = self
            .running
            .remove(at.unwrap_or_else(|| panic!("no etcd {name} runs")));
        end(&mut one.process);
    }

    fn try_client(&self) -> Option<EtcdClient> {
        let urls: Vec<String> = self
            .running
            .iter()
            .map(|one| one.seat.client_url.clone())
            .collect();
        let ca = CertificateBundle::from_pem(self.ca.certificate().to_pem().as_bytes()).unwrap();
        EtcdClient::new(urls, &ca, &certified(&self.ca, "client")).ok()
    }

    /// A client that knows all that run.
    ///
    /// # Panics
    /// When none runs.
    #[must_use]
    pub fn client(&self) -> EtcdClient {
        self.try_client().unwrap()
    }

    /// Their client URLs.
    #[must_use]
    pub fn client_urls(&self) -> Vec<String> {
        self.running
            .iter()
            .map(|one| one.seat.client_url.clone())
            .collect()
    }

    /// The peer URL of one that runs.
    ///
    /// # Panics
    /// When there is none of that name.
    #[must_use]
    pub fn peer_url(&self, name: &str) -> String {
        let one = self.running.iter().find(|one| one.seat.name == name);
        one.unwrap_or_else(|| panic!("no etcd {name} runs"))
            .seat
            .peer_url
            .clone()
    }

    /// The ends of all logs.
    #[must_use]
    pub fn logs(&self) -> String {
        let mut logs = String::new();
        for one in &self.running {
            let text = fs::read_to_string(self.path(&format!("{}.log", one.seat.name)))
                .unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let tail = lines[lines.len().saturating_sub(8)..].join("\n");
            logs.push_str(&format!("--- {}\n{tail}\n", one.seat.name));
        }
        logs
    }
}

fn end(process: &mut Child) {
    let _ = process.kill();
    let _ = process.wait();
}

impl Drop for Etcds {
    fn drop(&mut self) {
        for one in &mut self.running {
            end(&mut one.process);
        }
    }
}
