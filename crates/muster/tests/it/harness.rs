//! Starts the built program: a server on a free port, nodes under folders of their own; and stops
//! everything that it started, however a test ends.

use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The program under test.
pub(crate) const MUSTER: &str = env!("CARGO_BIN_EXE_muster");
/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A running server with a folder of its own.
pub(crate) struct TestServer {
    process: Option<Child>,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) address: String,
    flags: Vec<String>,
    nodes: AtomicU32,
}

impl TestServer {
    /// Starts a server on a free loopback port and waits until it is ready.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// As [`TestServer::start`], with further flags.
    pub(crate) fn start_with(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut server = Self {
            process: None,
            folder,
            address: "127.0.0.1:0".to_owned(),
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            nodes: AtomicU32::new(0),
        };
        server.resume();
        server
    }

    /// Starts the server (again) at its address, on its data.
    pub(crate) fn resume(&mut self) {
        let ready = self.folder.path().join("ready");
        let _ = fs::remove_file(&ready);
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log())
            .unwrap();
        let mut process = Command::new(MUSTER)
            .args(["server", "--bind", &self.address, "--data-dir"])
            .arg(self.data())
            .arg("--ready-file")
            .arg(&ready)
            .args(&self.flags)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let begin = Instant::now();
        while !ready.exists() {
            if let Some(status) = process.try_wait().unwrap() {
                panic!(
                    "the server ended: {status}\n{}",
                    fs::read_to_string(self.log()).unwrap()
                );
            }
            assert!(begin.elapsed() < PATIENCE, "the server is not ready");
            std::thread::sleep(Duration::from_millis(10));
        }
        self.address = fs::read_to_string(&ready)
            .unwrap()
            .lines()
            .next()
            .unwrap()
            .to_owned();
        self.process = Some(process);
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().expect("a running server").id()
    }

    /// Waits until the server has ended by itself.
    pub(crate) fn wait(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.wait().unwrap();
        }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.folder.path().join("server.log")
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.data().join("admin.kubeconfig")
    }

    /// Runs kubectl as the administrator.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Output {
        Command::new("kubectl")
            .arg("--kubeconfig")
            .arg(self.kubeconfig())
            .args(arguments)
            .env("HOME", self.folder.path())
            .output()
            .expect("kubectl must be in PATH: cargo xtask test brings it")
    }

    /// As [`TestServer::kubectl`]; it must succeed, and say nothing on standard error.
    pub(crate) fn kubectl_ok(&self, arguments: &[&str]) -> String {
        let output = self.kubectl(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {arguments:?}: {errors}");
        assert_eq!(errors, "", "kubectl {arguments:?} warns");
        String::from_utf8(output.stdout).unwrap()
    }

    /// An object as JSON; `None` when there is none.
    pub(crate) fn get(&self, what: &[&str]) -> Option<Value> {
        let mut arguments = vec!["get", "-o", "json", "--ignore-not-found"];
        arguments.extend(what);
        let text = self.kubectl_ok(&arguments);
        (!text.is_empty()).then(|| serde_json::from_str(&text).unwrap())
    }

    /// Creates a token; further flags as given.
    pub(crate) fn token(&self, flags: &[&str]) -> String {
        let mut arguments = vec!["token", "create", "--kubeconfig"];
        let kubeconfig = self.kubeconfig();
        arguments.push(kubeconfig.to_str().unwrap());
        arguments.extend(flags);
        stdout_of(muster(&arguments))
    }

    /// The pin of the server's CA.
    pub(crate) fn pin(&self) -> String {
        let line = self.token(&["--print-join-command"]);
        line.split_whitespace()
            .find(|word| word.starts_with("sha256:"))
            .unwrap()
            .to_owned()
    }

    /// A node that has not joined, with a folder of its own.
    pub(crate) fn node(&self) -> TestNode {
        let number = self.nodes.fetch_add(1, Ordering::Relaxed) + 1;
        let name = format!("node-{number}");
        let root = self.folder.path().join(&name);
        fs::create_dir(&root).unwrap();
        TestNode { name, root }
    }

    /// Joins a fresh hollow node and waits until it is Ready.
    pub(crate) fn join_ready(&self) -> TestNode {
        let node = self.node();
        let token = self.token(&[]);
        let output = node.join(
            &self.address,
            &["--token", &token, "--wait", "ready"],
            &self.pin(),
        );
        assert!(output.status.success(), "{}", text_of(&output));
        node
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        for entry in fs::read_dir(self.folder.path())
            .into_iter()
            .flatten()
            .flatten()
        {
            stop_kubelet(&entry.path());
        }
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// A machine below a folder.
pub(crate) struct TestNode {
    pub(crate) name: String,
    pub(crate) root: PathBuf,
}

impl TestNode {
    /// The arguments of a join of this hollow node.
    pub(crate) fn join_arguments(&self, endpoint: &str, flags: &[&str]) -> Vec<String> {
        let root = self.root.to_str().unwrap();
        let mut arguments = vec!["join", endpoint, "--root", root, "--node-name", &self.name];
        arguments.extend(["--runtime", "hollow", "--kubelet", "builtin"]);
        arguments.extend(flags);
        arguments.into_iter().map(str::to_owned).collect()
    }

    /// Runs a join to its end.
    pub(crate) fn join(&self, endpoint: &str, flags: &[&str], pin: &str) -> Output {
        let mut arguments = self.join_arguments(endpoint, flags);
        arguments.extend(["--discovery-token-ca-cert-hash".to_owned(), pin.to_owned()]);
        muster(&arguments)
    }

    /// Starts a join with a fresh token whose events can be read.
    pub(crate) fn start_join(&self, server: &TestServer, pin: &str, token: &str) -> Running {
        let flags = [
            "-o",
            "json",
            "--token",
            token,
            "--discovery-token-ca-cert-hash",
            pin,
        ];
        Running::start(&self.join_arguments(&server.address, &flags))
    }

    /// Resets the node as an administrator: its Node object goes as well.
    pub(crate) fn reset(&self, server: &TestServer) -> Output {
        let kubeconfig = server.kubeconfig();
        let arguments = ["reset", "--force", "--root", self.root.to_str().unwrap()];
        let arguments = arguments
            .iter()
            .copied()
            .chain(["--kubeconfig", kubeconfig.to_str().unwrap()]);
        muster(&arguments.collect::<Vec<_>>())
    }

    /// The paths of all files below the root.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.files().into_iter().map(|(path, _)| path).collect()
    }

    /// Every file below the root, with its content.
    pub(crate) fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        collect_files(&self.root, &mut found);
        found
    }

    /// The processes that run for this node: their whole command lines.
    pub(crate) fn processes(&self) -> Vec<String> {
        let root = self.root.to_str().unwrap().to_owned();
        command_lines()
            .into_iter()
            .map(|(_, line)| line)
            .filter(|line| line.contains(&root))
            .collect()
    }
}

fn collect_files(folder: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            collect_files(&path, found);
        } else if kind.is_file() {
            found.push((path.clone(), fs::read(&path).unwrap_or_default()));
        }
    }
}

/// Command lines of all processes of this machine that can be read.
pub(crate) fn command_lines() -> Vec<(u32, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        let Ok(line) = fs::read(entry.path().join("cmdline")) else {
            continue;
        };
        found.push((pid, String::from_utf8_lossy(&line).replace('\0', " ")));
    }
    found
}

/// Ends what a join started below `root`: first the supervisor, then its child.
fn stop_kubelet(root: &Path) {
    let Some(root) = root.to_str() else { return };
    for _ in 0..50 {
        let mut running: Vec<(u32, String)> = command_lines();
        running.retain(|(_, line)| line.contains(root) && line.contains("kubelet"));
        if running.is_empty() {
            return;
        }
        running.sort_by_key(|(_, line)| !line.contains("supervise"));
        for (pid, _) in running {
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).output();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs the program to its end.
pub(crate) fn muster<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Output {
    Command::new(MUSTER)
        .args(arguments)
        .env_remove("KUBECONFIG")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Standard output of a program that succeeded, without the last newline.
pub(crate) fn stdout_of(output: Output) -> String {
    assert!(output.status.success(), "{}", text_of(&output));
    String::from_utf8(output.stdout)
        .unwrap()
        .trim_end()
        .to_owned()
}

/// Both outputs and the status, for a message.
pub(crate) fn text_of(output: &Output) -> String {
    format!(
        "{}\n--- stdout\n{}\n--- stderr\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The id of the failure in a `-o json` output.
pub(crate) fn failure_id(output: &Output) -> Option<String> {
    let text = String::from_utf8_lossy(&output.stdout);
    let mut events = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    events.rfind(|event| event["type"] == "failed")?["id"]
        .as_str()
        .map(str::to_owned)
}

/// Waits until `probe` has a value; fails with what it saw last.
pub(crate) fn wait_for<T>(what: &str, mut probe: impl FnMut() -> Result<T, String>) -> T {
    let begin = Instant::now();
    loop {
        match probe() {
            Ok(value) => return value,
            Err(last) => assert!(begin.elapsed() < PATIENCE, "{what} did not come: {last}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A program whose lines can be read while it runs. Killed when dropped.
pub(crate) struct Running {
    process: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Running {
    pub(crate) fn start(arguments: &[String]) -> Self {
        let mut process = Command::new(MUSTER)
            .args(arguments)
            .env_remove("KUBECONFIG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    /// The next line of standard output; `None` at its end.
    pub(crate) fn line(&mut self) -> Option<String> {
        self.lines.next().map(Result::unwrap)
    }

    /// Reads JSON lines until one satisfies `is`; `None` when the program ends before.
    pub(crate) fn event(&mut self, is: impl Fn(&Value) -> bool) -> Option<Value> {
        while let Some(line) = self.line() {
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            if is(&event) {
                return Some(event);
            }
        }
        None
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Sends SIGINT.
    pub(crate) fn interrupt(&self) {
        let pid = self.process.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-INT", &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Waits for the end: success, and what was said on standard error.
    pub(crate) fn end(mut self) -> (bool, String) {
        while self.line().is_some() {}
        let mut errors = String::new();
        self.process
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut errors)
            .unwrap();
        (self.process.wait().unwrap().success(), errors)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
