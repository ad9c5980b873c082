//! `muster fleet`: many machines into a cluster, as one run.

mod access;
mod ending;
mod plan;
mod secrets;
mod source;
mod status;
mod view;

use crate::args::fleet::{Fleet as FleetArgs, Join, Listeners, TakeUp, Verb, Way};
use crate::exit::Failure;
use crate::printer::{Output, Printer};
use jiff::Timestamp;
use muster_fleet::rollout::{
    self, FleetDir, GivenCredential, Outcome, Providers, Provisioner, Reach, RolloutError,
    RunOptions, Sink, Source, Spans, Stop, Webhook,
};
use muster_identity::{BootstrapToken, Secret};
use muster_rollout::{Fleet, Resume, RunId};
use std::path::Path;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

pub(crate) use secrets::finder;
pub(crate) use source::state_dir;

/// Carries out `muster fleet …`.
pub(crate) async fn run(fleet: FleetArgs, printer: Printer) -> Result<(), Failure> {
    match fleet.verb {
        Verb::Plan(plan) => plan::run(&plan, printer).await,
        Verb::Join(join) => begin(join, printer).await,
        Verb::Status(status) => status::run(&status, printer).await,
        Verb::Resume(take_up) => again(take_up, Resume::GoOn, printer).await,
        Verb::Undo(take_up) => again(take_up, Resume::Undo, printer).await,
    }
}

async fn begin(join: Join, printer: Printer) -> Result<(), Failure> {
    let loaded = source::load(&join.which, printer)?;
    if let Some(saved) = &join.plan {
        plan::refuse_stale(saved, &loaded, &join.way).await?;
    }
    let dir = open_state(&source::state_dir(&join.state, &loaded.fleet.name)?)?;
    let driven = Driven::new(loaded.fleet, &join.way, &join.listeners, printer)?;
    driven.begin(dir, loaded.source).await
}

async fn again(take_up: TakeUp, how: Resume, printer: Printer) -> Result<(), Failure> {
    let dir = source::found_state_dir(&take_up.state, &take_up.which, printer)?;
    let dir = open_state(&dir)?;
    let journal = dir.journal();
    let run = rollout::find_run(&journal, take_up.run.as_deref()).await;
    let run = run.map_err(|error| failure(&error))?;
    let about = journal.about(&run).await;
    let about = about.map_err(|error| failure(&RolloutError::Store(error)))?;
    // The fleet as it was when the run began, whatever its file says by now.
    let fleet = source::of_journal(&about.source)?;
    let driven = Driven::new(fleet, &take_up.way, &take_up.listeners, printer)?;
    driven.again(dir, &run, how).await
}

/// Opens the state directory of a fleet.
pub(crate) fn open_state(path: &Path) -> Result<FleetDir, Failure> {
    FleetDir::open(path).map_err(|error| failure(&RolloutError::Store(error)))
}

/// An error of a run in the form of every other failure.
pub(crate) fn failure(error: &RolloutError) -> Failure {
    let mut failure = Failure::new(error.id(), error.exit_code(), error.to_string());
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        failure.causes.push(next.to_string());
        cause = next.source();
    }
    for line in error.cure().unwrap_or_default().lines() {
        failure = failure.cure(line);
    }
    failure
}

/// A run with its screen and its listeners, ready to go.
pub(crate) struct Driven {
    options: RunOptions,
    screen: view::Screen,
    printer: Printer,
}

impl Driven {
    /// With everything that makes machines.
    pub(crate) fn new(
        fleet: Fleet,
        way: &Way,
        listeners: &Listeners,
        printer: Printer,
    ) -> Result<Self, Failure> {
        Self::with(
            fleet,
            way,
            listeners,
            Arc::new(Providers::default()),
            printer,
        )
    }

    /// For a fleet whose machines may have to be made.
    pub(crate) fn with(
        fleet: Fleet,
        way: &Way,
        listeners: &Listeners,
        provisioner: Arc<dyn Provisioner>,
        printer: Printer,
    ) -> Result<Self, Failure> {
        let secrets = secrets::finder();
        let reach = Reach::new(
            fleet.timeouts.connect,
            way.accept_new_host_keys,
            Arc::clone(&secrets),
        );
        let kubeconfig = access::of_fleet(&fleet, way)?;
        let (screen, sink) = view::screen(printer, fleet.hosts.len());
        let (stops, stop) = mpsc::unbounded_channel();
        pass_on_signals(stops, screen.clone());
        let program = std::env::current_exe().map_err(|error| {
            Failure::usage("this program's own path is unknown").because(&error)
        })?;
        let options = RunOptions {
            fleet: Arc::new(fleet),
            kubeconfig,
            machines: Arc::new(reach),
            provisioner,
            secrets,
            program,
            sinks: sinks(listeners, sink)?,
            node_events: !listeners.no_node_events,
            stops: stop,
            given: given(way)?,
            entropy: crate::entropy::fill,
        };
        Ok(Self {
            options,
            screen,
            printer,
        })
    }

    /// Begins a run and carries it to its end.
    pub(crate) async fn begin(self, dir: FleetDir, source: Source) -> Result<(), Failure> {
        let outcome = rollout::begin(self.options, &dir, source).await;
        finish(dir, self.screen, outcome, false, self.printer).await
    }

    /// Takes a run up again and carries it to its end.
    pub(crate) async fn again(
        self,
        dir: FleetDir,
        run: &RunId,
        how: Resume,
    ) -> Result<(), Failure> {
        let outcome = rollout::resume(self.options, &dir, run, how).await;
        finish(dir, self.screen, outcome, how == Resume::Undo, self.printer).await
    }
}

async fn finish(
    dir: FleetDir,
    screen: view::Screen,
    outcome: Result<Outcome, RolloutError>,
    meant_to_undo: bool,
    printer: Printer,
) -> Result<(), Failure> {
    screen.end().await;
    let closed = dir.close().await;
    let outcome = outcome.map_err(|error| failure(&error))?;
    if let Err(error) = closed {
        tracing::warn!(%error, "the journal was not closed in order");
    }
    match printer.output() {
        Output::Text => printer.text(ending::page(&outcome)),
        Output::Json | Output::Yaml => ending::lines(&outcome).for_each(|line| printer.json(&line)),
    }
    ending::result(&outcome, meant_to_undo)
}

/// When it was made is not known: it counts from now on.
fn given(way: &Way) -> Result<Option<GivenCredential>, Failure> {
    let text = match &way.token_file {
        None => return Ok(None),
        Some(path) if path == Path::new("-") => crate::entropy::line_of_standard_input()?,
        Some(path) => crate::entropy::first_line_of(path)?,
    };
    let text = Secret::new(text);
    let token = BootstrapToken::parse(text.expose())
        .map_err(|error| crate::handshake_failure(&error.into()))?;
    Ok(Some(GivenCredential {
        token,
        created: Timestamp::now(),
        expires: None,
    }))
}

fn sinks(listeners: &Listeners, screen: Box<dyn Sink>) -> Result<Vec<Box<dyn Sink>>, Failure> {
    let wrong = |flag: &str, error: &muster_net::PostError| {
        Failure::usage(format!("{flag} cannot be used")).because(error)
    };
    let mut sinks = vec![screen];
    if let Some(url) = &listeners.webhook {
        let webhook = Webhook::new(url).map_err(|error| wrong("--webhook", &error))?;
        sinks.push(Box::new(webhook));
    }
    if let Some(url) = &listeners.otlp {
        let spans = Spans::new(url).map_err(|error| wrong("--otlp", &error))?;
        sinks.push(Box::new(spans));
    }
    Ok(sinks)
}

/// Ctrl-C once: the run ends in order. Twice: at once.
fn pass_on_signals(stops: mpsc::UnboundedSender<Stop>, screen: view::Screen) {
    let (interrupt, terminate) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    );
    let (Ok(mut interrupt), Ok(mut terminate)) = (interrupt, terminate) else {
        return;
    };
    tokio::spawn(async move {
        let mut before = false;
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            screen.remark(if before {
                "stopping at once; `muster fleet resume` or `muster fleet undo` take the run up again"
            } else {
                "stopping: no host starts any more, those at work reach a safe point. Once more: stop at once"
            });
            before = true;
            if stops.send(Stop::Interrupt).is_err() {
                return;
            }
        }
    });
}
