//! `cargo xtask bench join --vs`: joins of muster and of kubeadm in turns, on one machine into one control plane.
//!
//! It drives a real machine through a command prefix (`--node 'ssh root@node'`) and a real control plane through
//! kubectl, and prints the medians and their ratios. It knows no more of either tool than its command line.

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Certificate and kubelet.conf in place: at most this part of kubeadm's time.
const CERTIFICATE_LIMIT: f64 = 1.0 / 5.0;
/// Node registered: at most this part of kubeadm's time.
const REGISTRATION_LIMIT: f64 = 1.0 / 2.0;
/// A Node that has not come by then does not come.
const PATIENCE: Duration = Duration::from_secs(120);
/// Where the program is put on the machine.
const PLACE: &str = "/run/muster-bench";

/// What the comparison needs.
#[derive(Args)]
pub(crate) struct Versus {
    /// Compare with `kubeadm join` on a real machine.
    #[arg(long)]
    vs: bool,
    /// How commands are run on the machine that joins, for example 'ssh root@10.0.0.5'.
    #[arg(long, default_value = "", requires = "vs", value_name = "PREFIX")]
    node: String,
    /// How commands are run where the API server can be reached; else right here.
    #[arg(long, default_value = "", requires = "vs", value_name = "PREFIX")]
    control: String,
    /// kubeadm, as the machine finds it.
    #[arg(
        long,
        default_value = "kubeadm",
        requires = "vs",
        value_name = "PROGRAM"
    )]
    kubeadm: String,
    /// kubectl, as the control side finds it.
    #[arg(
        long,
        default_value = "kubectl",
        requires = "vs",
        value_name = "PROGRAM"
    )]
    kubectl: String,
    /// muster itself; else a release build is made.
    #[arg(long, requires = "vs", value_name = "FILE")]
    muster: Option<PathBuf>,
    /// How often each of them joins.
    #[arg(long, default_value_t = 10, requires = "vs")]
    rounds: usize,
    /// Checks that both are to overlook.
    #[arg(long, default_value = "all", requires = "vs")]
    ignore_preflight_errors: String,
}

impl Versus {
    /// Whether a comparison is asked for.
    pub(crate) const fn is_asked(&self) -> bool {
        self.vs
    }

    /// muster, where it need not be built.
    pub(crate) fn built(&self) -> Option<&Path> {
        self.muster.as_deref()
    }

    /// Compares.
    ///
    /// # Errors
    /// When a tool does not join, or the machine or the control plane cannot be driven.
    pub(crate) fn run(&self, muster: &Path, kubeconfig: &Path) -> Result<()> {
        let driver = Driver {
            flags: self,
            muster,
            kubeconfig,
        };
        driver.put_program()?;
        let name = driver.on_node("hostname", None)?.trim().to_lowercase();
        let mut marks = [Vec::new(), Vec::new()];
        for round in 0..=self.rounds {
            // In turns, so that whatever else happens on the machine happens to both.
            for tool in [Tool::Kubeadm, Tool::Muster] {
                let seen = driver.join(tool, &name)?;
                driver.reset(tool, &name)?;
                // The first round warms caches.
                if round > 0 {
                    marks[tool as usize].push(seen);
                }
            }
        }
        report(&marks);
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Tool {
    Kubeadm,
    Muster,
}

/// Seconds from the start of the command.
#[derive(Clone, Copy, Debug)]
struct Marks {
    certificate: f64,
    exit: f64,
    registered: f64,
    ready: f64,
}

struct Driver<'a> {
    flags: &'a Versus,
    muster: &'a Path,
    kubeconfig: &'a Path,
}

/// `PREFIX WORDS…`, the prefix split at spaces.
fn command(prefix: &str, words: &[&str]) -> Result<Command> {
    let mut all = prefix.split_whitespace().chain(words.iter().copied());
    let mut command = Command::new(all.next().context("an empty command")?);
    command.args(all).stdin(Stdio::null());
    Ok(command)
}

fn finish(mut command: Command, input: Option<&Path>) -> Result<String> {
    if let Some(path) = input {
        command.stdin(std::fs::File::open(path)?);
    }
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

impl Driver<'_> {
    fn on_node(&self, script: &str, input: Option<&Path>) -> Result<String> {
        finish(self.node(script)?, input)
    }

    /// A script on the machine. ssh joins its words with spaces, other prefixes do not: quoted, both take it.
    fn node(&self, script: &str) -> Result<Command> {
        if self.flags.node.starts_with("ssh") {
            return command(&self.flags.node, &[script]);
        }
        command(&self.flags.node, &["sh", "-c", script])
    }

    fn kubectl(&self, words: &[&str]) -> Result<Command> {
        let kubeconfig = self.kubeconfig.to_string_lossy();
        let mut all = vec![self.flags.kubectl.as_str(), "--kubeconfig", &kubeconfig];
        all.extend(words);
        command(&self.flags.control, &all)
    }

    fn put_program(&self) -> Result<()> {
        let script = format!("cat > {PLACE} && chmod 755 {PLACE}");
        self.on_node(&script, Some(self.muster)).map(drop)
    }

    /// Endpoint, token and pin, as words for either tool.
    fn credential(&self) -> Result<String> {
        let muster = self.muster.to_string_lossy();
        let kubeconfig = self.kubeconfig.to_string_lossy();
        let words = [
            &muster,
            "token",
            "create",
            "--print-join-command",
            "--kubeconfig",
            &kubeconfig,
        ];
        let printed = finish(command(&self.flags.control, &words)?, None)?;
        let line = printed.lines().find_map(|line| line.split_once(" join "));
        let (_, words) = line.context("no join command was printed")?;
        self.until_signed(words)?;
        Ok(words.trim().to_owned())
    }

    /// A token is of use once cluster-info is signed with it; neither tool is to wait for the signer.
    fn until_signed(&self, words: &str) -> Result<()> {
        let mut after = words
            .split_whitespace()
            .skip_while(|word| *word != "--token");
        let token = after.nth(1).context("no token")?;
        let key = format!(
            "jws-kubeconfig-{}",
            token.split('.').next().unwrap_or_default()
        );
        let begin = Instant::now();
        loop {
            let words = [
                "get",
                "configmap",
                "-n",
                "kube-public",
                "cluster-info",
                "-o",
                "yaml",
            ];
            if finish(self.kubectl(&words)?, None)?.contains(&key) {
                return Ok(());
            }
            ensure!(begin.elapsed() < PATIENCE, "cluster-info is not signed");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn join(&self, tool: Tool, name: &str) -> Result<Marks> {
        let credential = self.credential()?;
        let ignored = &self.flags.ignore_preflight_errors;
        let program = match tool {
            Tool::Kubeadm => self.flags.kubeadm.as_str(),
            Tool::Muster => PLACE,
        };
        let wait = match tool {
            // It does not wait for the Node; neither shall the other.
            Tool::Kubeadm => "",
            Tool::Muster => "--kubelet system --wait registered",
        };
        let watch = Watch::start(self.kubectl(&[
            "get",
            "nodes",
            "--watch-only",
            "-o",
            "jsonpath={.metadata.name} {.status.conditions[?(@.type==\"Ready\")].status}{\"\\n\"}",
        ])?)?;
        std::thread::sleep(Duration::from_millis(500));
        let script = format!(
            "date +%s.%N; exec {program} join {credential} --ignore-preflight-errors={ignored} {wait} 2>&1"
        );
        let begin = Instant::now();
        let printed = self.on_node(&script, None)?;
        let exit = begin.elapsed().as_secs_f64();
        let registered = watch.until(begin, |line| line.split(' ').next() == Some(name))?;
        let ready = watch.until(begin, |line| line == format!("{name} True"))?;
        let started: f64 = printed.lines().next().unwrap_or_default().parse()?;
        let written = self.on_node(
            "stat -c %.9Y /etc/kubernetes/kubelet.conf /var/lib/kubelet/pki/kubelet-client-current.pem",
            None,
        )?;
        let written = written.lines().filter_map(|line| line.parse::<f64>().ok());
        Ok(Marks {
            certificate: written.fold(0.0, f64::max) - started,
            exit,
            registered: registered.as_secs_f64(),
            ready: ready.as_secs_f64(),
        })
    }

    fn reset(&self, tool: Tool, name: &str) -> Result<()> {
        let script = match tool {
            Tool::Kubeadm => format!("{} reset --force 2>&1", self.flags.kubeadm),
            Tool::Muster => format!("{PLACE} reset --force 2>&1"),
        };
        self.on_node(&script, None)?;
        let words = ["delete", "node", name, "--ignore-not-found"];
        finish(self.kubectl(&words)?, None).map(drop)
    }
}

/// Lines of a running program, with the time at which each came.
struct Watch {
    process: Child,
    lines: Receiver<(Instant, String)>,
    before: std::cell::RefCell<Vec<(Instant, String)>>,
}

impl Watch {
    fn start(mut command: Command) -> Result<Self> {
        let mut process = command.stdout(Stdio::piped()).spawn()?;
        let output: ChildStdout = process.stdout.take().context("no output")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output.take(u64::MAX)).lines() {
                let Ok(line) = line else { return };
                if sender.send((Instant::now(), line)).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            process,
            lines,
            before: std::cell::RefCell::default(),
        })
    }

    /// When the first line came that fits.
    fn until(&self, begin: Instant, fits: impl Fn(&str) -> bool) -> Result<Duration> {
        let seen = self.before.borrow();
        if let Some((at, _)) = seen.iter().find(|(_, line)| fits(line.trim_end())) {
            return Ok(at.duration_since(begin));
        }
        drop(seen);
        loop {
            let left = PATIENCE.saturating_sub(begin.elapsed());
            let Ok((at, line)) = self.lines.recv_timeout(left) else {
                bail!("the node did not come");
            };
            let fit = fits(line.trim_end());
            self.before.borrow_mut().push((at, line));
            if fit {
                return Ok(at.duration_since(begin));
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn median(marks: &[Marks], of: impl Fn(&Marks) -> f64) -> f64 {
    let mut values: Vec<f64> = marks.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn report(marks: &[Vec<Marks>; 2]) {
    let [kubeadm, muster] = marks;
    let mut out = String::new();
    use std::fmt::Write as _;
    let _ = writeln!(
        out,
        "\n{} joins each, medians in seconds from the start of the command\n{:32} {:>8} {:>8} {:>6}",
        muster.len(),
        "",
        "kubeadm",
        "muster",
        "ratio"
    );
    let mut row = |what: &str, limit: Option<f64>, of: fn(&Marks) -> f64| {
        let (theirs, ours) = (median(kubeadm, of), median(muster, of));
        let ratio = ours / theirs;
        let verdict = match limit {
            Some(limit) if ratio <= limit => format!("  (limit {limit:.2}: kept)"),
            Some(limit) => format!("  (limit {limit:.2}: MISSED)"),
            None => String::new(),
        };
        let _ = writeln!(
            out,
            "{what:32} {theirs:8.3} {ours:8.3} {ratio:6.2}{verdict}"
        );
    };
    row(
        "certificate and kubelet.conf",
        Some(CERTIFICATE_LIMIT),
        |m| m.certificate,
    );
    row("Node registered", Some(REGISTRATION_LIMIT), |m| {
        m.registered
    });
    row("Node Ready", None, |m| m.ready);
    row("command ends", None, |m| m.exit);
    let _ = std::io::stdout().write_all(out.as_bytes());
}
