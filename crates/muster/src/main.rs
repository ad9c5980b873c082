//! `muster`: one binary that gets machines into Kubernetes clusters.
//!
//! Here are arguments, output, exit codes and the wiring of the crates; what is done is done below.

mod args;
mod cluster;
mod columns;
mod commands;
mod control_plane;
mod entropy;
mod exit;
mod kubeadm;
mod narration;
mod printer;
mod progress;
mod signals;
mod way_in;

use args::kubeadm::AsKubeadm;
use args::operator::LogFormat;
use args::{Arguments, Command};
use clap::Parser;
use exit::Failure;
use muster_handshake::HandshakeError;
use printer::Printer;
use std::process::ExitCode;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

fn main() -> ExitCode {
    if kubeadm::is_meant(std::env::args_os()) {
        return kubeadm::main(std::env::args_os());
    }
    let arguments = Arguments::parse();
    let printer = Printer::new(arguments.output);
    log_to_standard_error(arguments.verbose, &arguments.command);
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            let failure = Failure::new("runtime", exit::FAILED, "no runtime can be started");
            return end(&failure.because(&error), printer);
        }
    };
    let result = runtime.block_on(run(arguments.command, printer));
    // What still blocks (a read of standard input) must not hold up the end.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => end(&failure, printer),
    }
}

fn end(failure: &Failure, printer: Printer) -> ExitCode {
    printer.failure(failure);
    ExitCode::from(failure.code)
}

async fn run(command: Command, printer: Printer) -> Result<(), Failure> {
    match command {
        Command::Server(server) => commands::server::run(server, printer).await,
        Command::Token(token) => commands::token::run(token, printer).await,
        Command::Config(line) => as_kubeadm("config", line, printer).await,
        Command::Certs(line) => as_kubeadm("certs", line, printer).await,
        Command::Kubeconfig(line) => as_kubeadm("kubeconfig", line, printer).await,
        Command::Init(line) => as_kubeadm("init", line, printer).await,
        Command::Csr(csr) => commands::csr::run(csr, printer).await,
        Command::Operator(operator) => commands::operator::run(operator, printer).await,
        Command::Bench(bench) => commands::bench::run(bench, printer).await,
        Command::Kubelet(kubelet) => commands::kubelet::run(kubelet).await,
        Command::Supervise(flags) => commands::kubelet::supervise(flags).await,
        Command::Join(join) => commands::join::run(*join, printer).await,
        Command::Fleet(fleet) => commands::fleet::run(fleet, printer).await,
        Command::Node(node) => commands::node::run(node, printer).await,
        Command::Preflight(preflight) => commands::preflight::run(preflight, printer).await,
        Command::Reset(reset) => commands::reset::run(reset, printer).await,
        Command::Playground(playground) => commands::playground::run(playground, printer).await,
    }
}

/// A command that is kubeadm's word for word. What stands before it (`-o`, `-v`) counts as if it stood behind.
async fn as_kubeadm(command: &str, line: AsKubeadm, printer: Printer) -> Result<(), Failure> {
    let words: Vec<String> = std::iter::once(command.to_owned())
        .chain(line.words)
        .collect();
    kubeadm::run_as_own(&words, printer).await
}

/// Services log what they do; commands that a person waits for only log what is wrong.
fn log_to_standard_error(verbose: u8, command: &Command) {
    let quiet = match command {
        Command::Server(_) | Command::Kubelet(_) | Command::Operator(_) => LevelFilter::INFO,
        _ => LevelFilter::WARN,
    };
    let level = match verbose {
        0 => quiet,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(printer::is_coloured())
        .with_writer(std::io::stderr);
    let is_json =
        matches!(command, Command::Operator(operator) if operator.log_format == LogFormat::Json);
    if is_json {
        let subscriber = subscriber.json().flatten_event(true).finish();
        subscriber.with(ours(level)).init();
    } else {
        subscriber.finish().with(ours(level)).init();
    }
}

/// What is logged of libraries: their errors are ours to tell, once, in our words.
pub(crate) fn ours(level: LevelFilter) -> Targets {
    let library = if level > LevelFilter::INFO {
        level
    } else {
        LevelFilter::OFF
    };
    Targets::new()
        .with_default(level)
        .with_target("kube_client", library)
}

/// The end of a handshake, in the form of every other failure.
pub(crate) fn handshake_failure(error: &HandshakeError) -> Failure {
    Failure::new(error.id(), error.exit_code(), error.to_string()).cure(error.remedy())
}
