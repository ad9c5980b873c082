//! The runtime's state, asked of a containerd of our own: own root, own state, own socket.

use muster_agent::cri::{Cri, CriError};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

struct Containerd {
    process: Child,
    folder: tempfile::TempDir,
}

impl Containerd {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let config = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\n[grpc]\naddress = {:?}\n[ttrpc]\naddress = {:?}\n",
            path("root"),
            path("state"),
            path("sock"),
            path("ttrpc")
        );
        std::fs::write(path("config.toml"), config).unwrap();
        let process = Command::new("containerd")
            .args(["--config", &path("config.toml")])
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(path("log")).unwrap())
            .spawn()
            .expect("containerd must be in PATH: cargo xtask test installs it");
        Self { process, folder }
    }

    fn socket(&self) -> String {
        format!("unix://{}", self.folder.path().join("sock").display())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn a_real_containerd_tells_name_version_and_what_it_lacks() {
    let containerd = Containerd::start();
    let cri = Cri::new(&containerd.socket());
    let begin = Instant::now();
    let state = loop {
        match cri.state().await {
            Ok(state) => break state,
            Err(error) => {
                let limit = Duration::from_secs(30);
                assert!(begin.elapsed() < limit, "{error:?}\n{}", containerd.log());
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    };
    assert!(state.version().starts_with("containerd://"), "{state:?}");
    assert!(!state.is_hollow());
    // Whether it is ready depends on CNI on this machine; either way the answer has the kubelet's words.
    let has_cni = Path::new("/etc/cni/net.d")
        .read_dir()
        .is_ok_and(|mut files| files.next().is_some());
    match state.problem() {
        None => assert!(has_cni),
        Some(problem) => assert!(
            problem.contains("container runtime network not ready: NetworkReady=false"),
            "{problem}"
        ),
    }
}

#[tokio::test]
async fn a_runtime_that_goes_away_is_an_error_and_one_that_returns_is_found_again() {
    let mut containerd = Containerd::start();
    let cri = Cri::new(&containerd.socket());
    let begin = Instant::now();
    while cri.state().await.is_err() {
        assert!(
            begin.elapsed() < Duration::from_secs(30),
            "{}",
            containerd.log()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    containerd.process.kill().unwrap();
    containerd.process.wait().unwrap();
    let error = cri.state().await.unwrap_err();
    assert!(matches!(
        error,
        CriError::Connect { .. } | CriError::Call { .. }
    ));
}
