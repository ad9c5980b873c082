//! `muster fleet` on real machines: joined over SSH to the embedded server, failing in every way, killed anywhere.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::fleet_bed::{FleetBed, PASSWORD, SudoThere};
use super::harness::{MUSTER, TestServer, command_lines, failure_id, text_of, wait_for};

/// Machines, a server for them, and a file that says so.
struct Trial {
    bed: FleetBed,
    server: TestServer,
    endpoint: String,
}

impl Trial {
    fn new(sudo: &[SudoThere]) -> Self {
        let bed = FleetBed::start(sudo);
        let (server, endpoint) = bed.server();
        Self {
            bed,
            server,
            endpoint,
        }
    }

    fn of(machines: usize) -> Self {
        Self::new(&vec![SudoThere::Passwordless; machines])
    }

    /// Writes the fleet file; `more` is said of single hosts, `policy` of all.
    fn write(&self, placed: bool, policy: &str, more: impl Fn(usize) -> &'static str) -> PathBuf {
        let bed = &self.bed;
        let mut text = format!(
            "apiVersion: muster.dev/v1alpha1\nkind: FleetConfiguration\nmetadata: {{name: bed}}\n\
             cluster: {{kubeconfig: '{}', endpoint: '{}'}}\n\
             defaults:\n  ssh: {{configFile: '{}'}}\n  join: {{method: muster, kubelet: builtin, runtime: hollow, binary: '{}'}}\n\
             concurrency: {{limit: 8}}\n{policy}\nhosts:\n",
            self.server.kubeconfig().display(),
            self.endpoint,
            bed.path("ssh_config").display(),
            bed.program(placed).display(),
        );
        for (index, host) in bed.hosts.iter().enumerate() {
            text.push_str(&format!(
                "- {{name: {}, ssh: {{address: {}}}{}}}\n",
                host.name,
                host.address,
                more(index)
            ));
        }
        let file = bed.path("fleet.yaml");
        fs::write(&file, text).unwrap();
        file
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(MUSTER);
        command
            .args(["-o", "json", "fleet", verb, "-f"])
            .arg(self.bed.path("fleet.yaml"))
            .arg("--state-dir")
            .arg(self.state())
            .env("HOME", self.bed.folder.path())
            .env_remove("KUBECONFIG")
            .env_remove("SSH_AUTH_SOCK")
            .stdin(Stdio::null());
        command
    }

    fn state(&self) -> PathBuf {
        self.bed.path("state")
    }

    fn fleet(&self, verb: &str) -> Output {
        self.command(verb).output().unwrap()
    }

    fn nodes(&self) -> BTreeSet<String> {
        let text = self.server.kubectl_ok(&["get", "nodes", "-o", "name"]);
        text.lines()
            .map(|line| line.trim_start_matches("node/").to_owned())
            .collect()
    }

    fn ready_nodes(&self) -> usize {
        let template =
            "{range .items[*]}{.status.conditions[?(@.type==\"Ready\")].status}{\"\\n\"}{end}";
        let text = self
            .server
            .kubectl_ok(&["get", "nodes", "-o", &format!("jsonpath={template}")]);
        text.lines().filter(|line| *line == "True").count()
    }

    fn tokens(&self) -> Vec<String> {
        let text = self
            .server
            .kubectl_ok(&["get", "secrets", "-n", "kube-system", "-o", "name"]);
        text.lines()
            .filter(|line| line.contains("bootstrap-token"))
            .map(str::to_owned)
            .collect()
    }

    /// Nobody has joined, and nothing of an attempt is left.
    fn assert_nothing_is_left(&self, when: &str) {
        for host in &self.bed.hosts {
            assert_eq!(host.traces(), Vec::<String>::new(), "{when}: {}", host.name);
        }
        assert_eq!(self.nodes(), BTreeSet::new(), "{when}");
        assert_eq!(self.tokens(), Vec::<String>::new(), "{when}");
    }

    fn assert_all_joined(&self, when: &str) {
        let names: BTreeSet<String> = self
            .bed
            .hosts
            .iter()
            .map(|host| host.name.clone())
            .collect();
        assert_eq!(self.nodes(), names, "{when}");
        assert!(
            self.bed.hosts.iter().all(|host| host.has_joined()),
            "{when}"
        );
        assert_eq!(self.tokens(), Vec::<String>::new(), "{when}");
        wait_for("all nodes Ready", || {
            let ready = self.ready_nodes();
            (ready == names.len())
                .then_some(())
                .ok_or_else(|| format!("{ready} are"))
        });
    }
}

fn events(output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// For each host that was begun, how it ended: nothing for joined, else the id of the failure.
fn ends(output: &Output) -> Vec<(String, Option<String>)> {
    let ended = |event: &Value| {
        let name = event["name"].as_str()?.to_owned();
        match event["type"].as_str()? {
            "ClusterNodeJoinCompleted" => Some((name, None)),
            "ClusterNodeJoinFailed" => {
                Some((name, Some(event["failure"]["id"].as_str()?.to_owned())))
            }
            _ => None,
        }
    };
    events(output).iter().filter_map(ended).collect()
}

fn begun(output: &Output) -> Vec<String> {
    let begun = |event: &Value| event["type"] == "ClusterNodeJoinStarted";
    let names = events(output).into_iter().filter(begun);
    names
        .map(|event| event["name"].as_str().unwrap().to_owned())
        .collect()
}

/// Reads everything that anybody could read while a fleet joins.
struct Spy {
    goes_on: Arc<AtomicBool>,
    watcher: std::thread::JoinHandle<BTreeSet<String>>,
    secrets: Child,
    file: PathBuf,
}

impl Spy {
    fn start(trial: &Trial) -> Self {
        let file = trial.bed.path("secrets.json");
        let secrets = Command::new("kubectl")
            .arg("--kubeconfig")
            .arg(trial.server.kubeconfig())
            .args([
                "get",
                "secrets",
                "-n",
                "kube-system",
                "--watch",
                "-o",
                "json",
            ])
            .env("HOME", trial.server.folder.path())
            .stdout(fs::File::create(&file).unwrap())
            .spawn()
            .unwrap();
        let goes_on = Arc::new(AtomicBool::new(true));
        let goes = Arc::clone(&goes_on);
        let watcher = std::thread::spawn(move || {
            let mut seen = BTreeSet::new();
            while goes.load(Ordering::Relaxed) {
                seen.extend(command_lines().into_iter().map(|(_, line)| line));
                std::thread::sleep(Duration::from_millis(2));
            }
            seen
        });
        Self {
            goes_on,
            watcher,
            secrets,
            file,
        }
    }

    /// All command lines that were seen, and the secret halves of all tokens that ever were.
    fn end(mut self) -> (BTreeSet<String>, BTreeSet<String>) {
        self.goes_on.store(false, Ordering::Relaxed);
        let lines = self.watcher.join().unwrap();
        self.secrets.kill().unwrap();
        self.secrets.wait().unwrap();
        let text = fs::read_to_string(&self.file).unwrap();
        let mut secrets = BTreeSet::new();
        for object in serde_json::Deserializer::from_str(&text)
            .into_iter::<Value>()
            .flatten()
        {
            if let Some(secret) = object["data"]["token-secret"].as_str() {
                let output = Command::new("sh")
                    .args(["-c", &format!("echo {secret} | base64 -d")])
                    .output()
                    .unwrap();
                secrets.insert(String::from_utf8(output.stdout).unwrap());
            }
        }
        fs::remove_file(&self.file).unwrap();
        (lines, secrets)
    }
}

fn all_bytes(folder: &Path, into: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            all_bytes(&entry.path(), into);
        } else if kind.is_file() && entry.metadata().is_ok_and(|about| about.len() < 64 << 20) {
            into.push((entry.path(), fs::read(entry.path()).unwrap_or_default()));
        }
    }
}

#[test]
fn eight_machines_join_over_ssh_and_no_secret_is_seen_anywhere() {
    let trial = Trial::new(
        &[
            [SudoThere::Passwordless; 6].as_slice(),
            &[SudoThere::Password; 2],
        ]
        .concat(),
    );
    trial.write(true, "", |host| {
        if host < 6 {
            ""
        } else {
            ", sudo: {password: {env: FLEET_SUDO}}"
        }
    });
    let spy = Spy::start(&trial);
    let begin = Instant::now();
    let output = trial
        .command("join")
        .env("FLEET_SUDO", PASSWORD)
        .output()
        .unwrap();
    let took = begin.elapsed();
    let (lines, secrets) = spy.end();
    assert!(output.status.success(), "{}", text_of(&output));
    eprintln!("eight machines joined in {took:?}");
    assert_eq!(ends(&output).len(), 8);
    trial.assert_all_joined("after the join");
    let too_many = |event: &Value| {
        let message = event["failure"]["message"].as_str().unwrap_or_default();
        message.contains("429") || message.to_lowercase().contains("too many")
    };
    assert!(
        !events(&output).iter().any(too_many),
        "{}",
        text_of(&output)
    );
    assert!(!secrets.is_empty() && lines.len() > 20);
    let mut files = Vec::new();
    all_bytes(&trial.state(), &mut files);
    assert!(!files.is_empty());
    for host in &trial.bed.hosts {
        all_bytes(&host.root, &mut files);
    }
    for secret in secrets.iter().map(String::as_str).chain([PASSWORD]) {
        assert!(
            !lines.iter().any(|line| line.contains(secret)),
            "in a process list"
        );
        assert!(!text_of(&output).contains(secret), "in the output");
        for (file, bytes) in &files {
            let found = bytes
                .windows(secret.len())
                .any(|window| window == secret.as_bytes());
            assert!(!found, "in {}", file.display());
        }
    }
}

#[test]
fn one_machine_that_fails_leaves_none_joined_and_the_next_run_succeeds_at_once() {
    let trial = Trial::of(8);
    trial.write(true, "", |_| "");
    // A file stands where a directory belongs.
    let obstacle = trial.bed.hosts[5].path("etc/kubernetes");
    fs::write(&obstacle, "not a directory").unwrap();
    let output = trial.fleet("join");
    assert!(!output.status.success(), "{}", text_of(&output));
    let failed: Vec<_> = ends(&output)
        .into_iter()
        .filter(|(_, end)| end.is_some())
        .collect();
    assert!(
        failed.iter().any(|(name, _)| name == "host-5"),
        "{failed:?}"
    );
    assert_eq!(
        begun(&output).len(),
        ends(&output).len(),
        "{}",
        text_of(&output)
    );
    trial.assert_nothing_is_left("after the failure");
    fs::remove_file(&obstacle).unwrap();
    let output = trial.fleet("join");
    assert!(output.status.success(), "{}", text_of(&output));
    trial.assert_all_joined("after the second run");
}

#[test]
fn what_is_wrong_with_each_machine_is_told_and_holds_up_nobody() {
    use SudoThere::{Password, Passwordless};
    let trial = Trial::new(&[
        Passwordless,
        Passwordless,
        Passwordless,
        Passwordless,
        Password,
    ]);
    let policy = "policy: {onFailure: keepSuccesses}\ntimeouts: {connect: 3s, stage: 8s}";
    trial.write(true, policy, |_| "");
    let bed = &trial.bed;
    bed.unplug(1);
    // Every login there takes its time.
    let shell = bed.hosts[2].path("etc/passwd");
    let passwd = fs::read_to_string(&shell)
        .unwrap()
        .replace("/home/ada:/bin/sh", "/home/ada:/opt/slow");
    fs::write(&shell, passwd).unwrap();
    let slow = bed.hosts[2].path("opt/slow");
    fs::write(&slow, "#!/bin/sh\nsleep 0.5\nexec /bin/sh \"$@\"\n").unwrap();
    fs::set_permissions(&slow, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    // The key of another machine is known for this one.
    let known = fs::read_to_string(bed.path("known_hosts")).unwrap();
    let (mine, other) = (
        bed.hosts[3].address.to_string(),
        bed.hosts[0].address.to_string(),
    );
    let without = known
        .lines()
        .filter(|line| !line.starts_with(&format!("{mine} ")));
    let mut changed: Vec<String> = without.map(str::to_owned).collect();
    let foreign = known
        .lines()
        .find(|line| line.starts_with(&format!("{other} ")))
        .unwrap();
    changed.push(foreign.replacen(&other, &mine, 1));
    fs::write(bed.path("known_hosts"), changed.join("\n") + "\n").unwrap();
    let output = trial.fleet("join");
    let ends = ends(&output);
    let end_of = |name: &str| {
        ends.iter()
            .find(|(host, _)| host == name)
            .unwrap_or_else(|| panic!("{}", text_of(&output)))
            .1
            .clone()
    };
    assert_eq!(end_of("host-0"), None, "{}", text_of(&output));
    assert_eq!(end_of("host-2"), None, "{}", text_of(&output));
    assert_eq!(end_of("host-1").as_deref(), Some("ssh-unreachable"));
    assert_eq!(end_of("host-3").as_deref(), Some("ssh-host-key-changed"));
    assert_eq!(
        end_of("host-4").as_deref(),
        Some("ssh-sudo-password-needed")
    );
    // Nobody waited for the machine that is not there.
    let place = |name: &str| ends.iter().position(|(host, _)| host == name).unwrap();
    assert!(
        place("host-0") < place("host-1") && place("host-2") < place("host-1"),
        "{ends:?}"
    );
    assert_eq!(
        trial.nodes(),
        ["host-0", "host-2"].map(str::to_owned).into()
    );
    assert_eq!(trial.tokens(), Vec::<String>::new());
}

#[test]
fn machines_without_the_program_get_it_and_lose_it_again_when_they_are_taken_back() {
    // More of them for measuring.
    let machines = std::env::var("MUSTER_TEST_MACHINES").map_or(2, |text| text.parse().unwrap());
    let trial = Trial::of(machines);
    trial.write(false, "", |_| "");
    let begin = Instant::now();
    let output = trial.fleet("join");
    assert!(output.status.success(), "{}", text_of(&output));
    eprintln!(
        "{machines} machines got the program and joined in {:?}",
        begin.elapsed()
    );
    trial.assert_all_joined("after the join");
    let program = |host: usize| {
        let folder = trial.bed.hosts[host].path("opt/muster/bin");
        fs::read_dir(folder).map_or(0, Iterator::count)
    };
    assert!(program(0) > 0 && program(1) > 0);
    reset_all(&trial);
    assert_eq!((program(0), program(1)), (0, 0));
}

#[test]
fn an_interrupted_run_takes_back_what_it_began() {
    let trial = Trial::of(3);
    trial.write(true, "", |_| "");
    let mut join = trial
        .command("join")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(join.stdout.take().unwrap()).lines();
    let begun = lines
        .by_ref()
        .map(Result::unwrap)
        .find(|line| line.contains("\"join\""));
    assert!(begun.is_some(), "no join began");
    let pid = join.id().to_string();
    let signal = Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert!(signal.success());
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    let status = join.wait().unwrap();
    assert_eq!(status.code(), Some(70), "{rest:#?}");
    trial.assert_nothing_is_left("after the interruption");
}

/// Starts a join and kills it right after the journal has been written to for the `count`th time. Whether it was killed;
/// one that was quicker must have joined all.
fn join_killed_at(trial: &Trial, count: usize) -> bool {
    let told = trial.bed.path("told");
    let output = fs::File::create(&told).unwrap();
    let mut join = trial
        .command("join")
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .spawn()
        .unwrap();
    let journal = trial.state().join("journal.db-wal");
    let (mut writes, mut last) = (0, 0);
    loop {
        let length = fs::metadata(&journal).map_or(0, |about| about.len());
        if length > last {
            writes += 1;
        }
        last = length;
        if writes >= count {
            let _ = join.kill();
        } else if join.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_micros(100));
            continue;
        }
        let status = join.wait().unwrap();
        let text = fs::read_to_string(told).unwrap();
        assert!(
            status.success() || status.code().is_none(),
            "{status}\n{text}"
        );
        return status.code().is_none();
    }
}

/// Every second write of the journal from the `first` on is a place to die in: two tests together try each.
fn places_to_die(first: usize) -> impl Iterator<Item = usize> {
    (first..).step_by(2)
}

fn reset_all(trial: &Trial) {
    let output = trial.fleet("undo");
    assert!(output.status.success(), "{}", text_of(&output));
    trial.assert_nothing_is_left("between two trials");
    fs::remove_dir_all(trial.state()).unwrap();
}

#[test]
fn a_coordinator_killed_at_any_odd_record_is_taken_up_again_and_all_join() {
    all_join_after_a_kill(1);
}

#[test]
fn a_coordinator_killed_at_any_even_record_is_taken_up_again_and_all_join() {
    all_join_after_a_kill(2);
}

#[test]
fn a_coordinator_killed_at_any_odd_record_can_be_undone_instead() {
    nothing_is_left_after_a_kill(1);
}

#[test]
fn a_coordinator_killed_at_any_even_record_can_be_undone_instead() {
    nothing_is_left_after_a_kill(2);
}

fn all_join_after_a_kill(first: usize) {
    let trial = Trial::of(3);
    trial.write(true, "", |_| "");
    let mut killed = 0;
    for place in places_to_die(first) {
        if !join_killed_at(&trial, place) {
            break;
        }
        killed += 1;
        let mut output = trial.fleet("resume");
        if failure_id(&output).as_deref() == Some("fleet-no-run") {
            output = trial.fleet("join");
        }
        let when = format!("killed at write {place}");
        assert!(output.status.success(), "{when}: {}", text_of(&output));
        trial.assert_all_joined(&when);
        reset_all(&trial);
    }
    assert!(killed > 2, "only {killed} were killed");
}

fn nothing_is_left_after_a_kill(first: usize) {
    let trial = Trial::of(3);
    trial.write(true, "", |_| "");
    let mut killed = 0;
    for place in places_to_die(first) {
        if !join_killed_at(&trial, place) {
            break;
        }
        killed += 1;
        let when = format!("killed at write {place}");
        let output = trial.fleet("undo");
        let no_run = failure_id(&output).as_deref() == Some("fleet-no-run");
        assert!(
            output.status.success() || no_run,
            "{when}: {}",
            text_of(&output)
        );
        trial.assert_nothing_is_left(&when);
        if !no_run {
            fs::remove_dir_all(trial.state()).unwrap();
        }
    }
    assert!(killed > 2, "only {killed} were killed");
}
