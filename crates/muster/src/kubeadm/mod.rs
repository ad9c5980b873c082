//! kubeadm's command line: what this program answers when it is started under the name `kubeadm`.
//!
//! Flags, texts, prefixes and exit codes are kubeadm's; the work is done by the same crates as for our own commands.
//! Here is which command leads where. It refuses to know how a join or a reset is done.

pub(crate) mod ambient;
mod certs;
mod completion;
mod config;
mod files;
mod init;
pub(crate) mod join;
mod jsonpath;
mod kubeconfig;
mod line;
pub(crate) mod mapping;
mod narration;
mod objects;
mod output;
mod pages;
mod refusal;
mod rehearsal;
mod reset;
mod template;
mod token;
mod version;

use crate::exit::Failure;
use crate::printer::{Output, Printer};
use line::{Parsed, Stop};
use refusal::Refusal;
use std::ffi::OsString;
use std::process::ExitCode;

/// Whether the program was started under kubeadm's name. Its own services are its own under any name: they are what
/// a join starts, and kubeadm has no commands of these names.
pub(crate) fn is_meant(mut arguments: impl Iterator<Item = OsString>) -> bool {
    let program = arguments.next();
    let path = program.as_deref().map(std::path::Path::new);
    let named = path.and_then(std::path::Path::file_name) == Some("kubeadm".as_ref());
    let service = arguments
        .next()
        .is_some_and(|word| word == "kubelet" || word == "supervise");
    named && !service
}

/// Runs a command line of kubeadm's to its end.
pub(crate) fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let printer = Printer::new(Output::Text);
    let words: Vec<String> = arguments
        .skip(1)
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let parsed = match line::parse(&words) {
        Ok(parsed) => parsed,
        Err(stop) => return end(stop_of(stop, printer), 0, printer),
    };
    let verbosity = parsed.verbosity();
    refusal::log_to_standard_error(verbosity);
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return end(Err(Refusal::failed(error.to_string())), verbosity, printer),
    };
    let result = match parsed.text("rootfs").filter(|root| !root.is_empty()) {
        Some(root) => change_root(root),
        None => Ok(()),
    };
    let result = result.and_then(|()| runtime.block_on(run(&parsed, printer)));
    runtime.shutdown_background();
    end(result, verbosity, printer)
}

/// The same command under this program's own name: `muster config …`.
pub(crate) async fn run_as_own(words: &[String], printer: Printer) -> Result<(), Failure> {
    let own = |refusal: Refusal| {
        config::tell(refusal.warnings(), printer);
        refusal.under_own_name().into_failure()
    };
    let mut parsed = match line::parse(words) {
        Ok(parsed) => parsed,
        Err(Stop::Page(page) | Stop::Group(page) | Stop::Astray(page)) => {
            let page = refusal::OWN_COMMANDS.iter().fold(page, |page, command| {
                page.replace(&format!("kubeadm {command}"), &format!("muster {command}"))
            });
            printer.text(page);
            return Ok(());
        }
        Err(Stop::Refused(refusal)) => return Err(own(refusal)),
    };
    match printer.output() {
        Output::Text => {}
        Output::Json => parsed.prefer("output", "json"),
        Output::Yaml => parsed.prefer("output", "yaml"),
    }
    run(&parsed, printer).await.map_err(own)
}

fn stop_of(stop: Stop, printer: Printer) -> Result<(), Refusal> {
    match stop {
        Stop::Page(page) => {
            printer.text(page);
            Ok(())
        }
        Stop::Astray(page) => {
            printer.note(page.trim_end());
            Ok(())
        }
        Stop::Group(page) => {
            printer.text(page);
            // The empty error is kubeadm's own: a group of commands ends with two of them.
            printer.note("error: ");
            Err(Refusal::usage("subcommand is required"))
        }
        Stop::Refused(refusal) => Err(refusal),
    }
}

fn end(result: Result<(), Refusal>, verbosity: i64, printer: Printer) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(refusal) => {
            config::tell(refusal.warnings(), printer);
            printer.note(refusal.render(verbosity));
            ExitCode::FAILURE
        }
    }
}

fn change_root(root: &str) -> Result<(), Refusal> {
    let refuse = |error: rustix::io::Errno| {
        Refusal::failed(format!(
            "unable to chroot to {root}: {}",
            refusal::go_words(&error.into())
        ))
    };
    rustix::process::chroot(root).map_err(refuse)?;
    rustix::process::chdir("/").map_err(refuse)
}

async fn run(line: &Parsed, printer: Printer) -> Result<(), Refusal> {
    let path: Vec<&str> = line.path.iter().map(String::as_str).collect();
    match path.as_slice() {
        ["version"] => version::run(line, printer),
        ["completion"] => completion::run(line, printer),
        ["config", rest @ ..] => config::run(rest, line, printer).await,
        ["token", verb] => token::run(verb, line, printer).await,
        ["certs", rest @ ..] => certs::run(rest, line, printer).await,
        ["kubeconfig", "user"] => kubeconfig::user(line, printer),
        ["join"] => join::run(line, printer).await,
        ["join", "phase", phase @ ..] => join::phase(phase, line, printer).await,
        ["reset"] => reset::run(line, printer).await,
        ["reset", "phase", phase] => reset::phase(phase, line, printer).await,
        ["init", "phase", phase @ ..] => init::phase(phase, line, printer).await,
        other => Err(not_provided(other)),
    }
}

/// What kubeadm has and this program has not.
fn not_provided(path: &[&str]) -> Refusal {
    let what = path.join(" ");
    Refusal::new(
        "not-provided",
        crate::exit::USAGE,
        format!("\"kubeadm {what}\" is not provided by muster"),
    )
    .cure("a control plane of its own is \"muster server\"; for a cluster of static pods use kubeadm's own binary")
}
