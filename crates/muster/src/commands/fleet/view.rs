//! The screen of a run: while people watch, the hosts at work with what each is doing and for how long, above them lines
//! that stay; otherwise plain lines, or JSON lines.
//!
//! Writing happens in a thread of its own, so that a terminal that does not take it in holds nothing up.

mod board;

use crate::printer::{Output, Printer};
use async_trait::async_trait;
use board::Board;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;
use muster_fleet::rollout::Sink;
use muster_rollout::Event;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// What waits to be shown.
const QUEUE: usize = 8192;
/// How often the hosts at work are drawn.
const FRAME: Duration = Duration::from_millis(100);
/// How long whoever reads may take nothing in at the end; then the rest is lost.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long is waited until there may be room for more to show.
const MOMENT: Duration = Duration::from_millis(10);

enum Show {
    Event(Arc<Event>),
    Remark(String),
    End(oneshot::Sender<()>),
}

/// The screen. Clones are the same one.
#[derive(Clone)]
pub(super) struct Screen {
    shows: SyncSender<Show>,
    /// How much was shown: whether somebody takes it in.
    shown: Arc<AtomicU64>,
}

impl Screen {
    /// A line that stays, for people.
    pub(super) fn remark(&self, text: &str) {
        let _ = self.shows.try_send(Show::Remark(text.to_owned()));
    }

    /// Shows what is left, as long as it is taken in, and takes the moving part away.
    pub(super) async fn end(&self) {
        let (done, mut ended) = oneshot::channel();
        let mut last = Some(Show::End(done));
        let mut shown = self.shown.load(Ordering::Relaxed);
        let mut since = Instant::now();
        while since.elapsed() < FAREWELL {
            last = last.and_then(|end| match self.shows.try_send(end) {
                Err(TrySendError::Full(end)) => Some(end),
                Ok(()) | Err(TrySendError::Disconnected(_)) => None,
            });
            // Nobody will answer any more, or somebody has.
            if last.is_none() && tokio::time::timeout(MOMENT, &mut ended).await.is_ok() {
                return;
            }
            if last.is_some() {
                tokio::time::sleep(MOMENT).await;
            }
            let now = self.shown.load(Ordering::Relaxed);
            if now != shown {
                (shown, since) = (now, Instant::now());
            }
        }
    }
}

/// A screen and the sink that feeds it.
pub(super) fn screen(printer: Printer, hosts: usize) -> (Screen, Box<dyn Sink>) {
    let (shows, queue) = sync_channel(QUEUE);
    let writer = std::thread::Builder::new().name("screen".to_owned());
    let shown = Arc::<AtomicU64>::default();
    let counter = Arc::clone(&shown);
    let started = writer.spawn(move || show(printer, hosts, &queue, &counter));
    if let Err(error) = started {
        tracing::warn!(%error, "nothing will be shown");
    }
    let screen = Screen { shows, shown };
    (screen.clone(), Box::new(Feed(screen)))
}

struct Feed(Screen);

#[async_trait]
impl Sink for Feed {
    fn name(&self) -> &str {
        "screen"
    }

    async fn take(&mut self, events: &[Arc<Event>]) -> Result<(), String> {
        for event in events {
            // The queue before this one fills up meanwhile, and counts what it loses.
            while let Err(error) = self.0.shows.try_send(Show::Event(Arc::clone(event))) {
                if matches!(error, TrySendError::Disconnected(_)) {
                    return Err("nothing is shown any more".to_owned());
                }
                tokio::time::sleep(MOMENT).await;
            }
        }
        Ok(())
    }
}

fn show(printer: Printer, hosts: usize, queue: &Receiver<Show>, shown: &AtomicU64) {
    let mut moving = printer.is_watched().then(Moving::new);
    let mut board = Board::new(hosts);
    loop {
        let next = queue.recv_timeout(FRAME);
        shown.fetch_add(1, Ordering::Relaxed);
        match next {
            Ok(Show::Event(event)) => {
                if printer.output() != Output::Text {
                    printer.json(&*event);
                    continue;
                }
                board.learn(&event);
                if let Some(line) = board.line(&event, moving.is_some()) {
                    say(printer, moving.as_ref(), &line);
                }
            }
            Ok(Show::Remark(text)) => say(printer, moving.as_ref(), &text),
            Ok(Show::End(done)) => {
                if let Some(moving) = moving.take() {
                    moving.clear();
                }
                let _ = done.send(());
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if let Some(moving) = &mut moving {
            moving.draw(&board);
        }
    }
}

fn say(printer: Printer, moving: Option<&Moving>, line: &str) {
    match moving {
        Some(moving) => moving.lines.suspend(|| printer.note(line)),
        None => printer.note(line),
    }
}

/// The part of the screen that moves: some rows and a summary below them.
struct Moving {
    lines: MultiProgress,
    rows: Vec<ProgressBar>,
    summary: ProgressBar,
    drawn: Instant,
    _unechoed: Option<Unechoed>,
}

impl Moving {
    fn new() -> Self {
        let lines = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        let summary = lines.add(row());
        Self {
            lines,
            rows: Vec::new(),
            summary,
            drawn: Instant::now(),
            _unechoed: Unechoed::begin(),
        }
    }

    fn draw(&mut self, board: &Board) {
        if self.drawn.elapsed() < FRAME {
            return;
        }
        self.drawn = Instant::now();
        let (height, width) = console_size();
        // The rows leave room for lines that stay.
        let most = usize::from(height).saturating_sub(6).clamp(3, 24);
        let texts = board.rows(Timestamp::now(), most, usize::from(width));
        while self.rows.len() < texts.len() {
            self.rows
                .push(self.lines.insert_before(&self.summary, row()));
        }
        while self.rows.len() > texts.len() {
            if let Some(row) = self.rows.pop() {
                row.finish_and_clear();
                self.lines.remove(&row);
            }
        }
        for (row, text) in self.rows.iter().zip(texts) {
            row.set_message(text);
            row.tick();
        }
        self.summary.set_message(board.summary(Timestamp::now()));
        self.summary.tick();
    }

    fn clear(self) {
        for row in &self.rows {
            row.finish_and_clear();
        }
        self.summary.finish_and_clear();
        let _ = self.lines.clear();
    }
}

/// While rows are drawn the terminal does not echo Ctrl-C as `^C`: the cursor stands at the end of a full line, and the
/// echo would begin another one that nobody takes away.
struct Unechoed(Termios);

impl Unechoed {
    fn begin() -> Option<Self> {
        let before = tcgetattr(std::io::stdin()).ok()?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHOCTL);
        tcsetattr(std::io::stdin(), OptionalActions::Now, &quiet).ok()?;
        Some(Self(before))
    }
}

impl Drop for Unechoed {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
    }
}

fn row() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{msg}") {
        bar.set_style(style);
    }
    bar
}

/// Rows and columns of the terminal on standard error.
fn console_size() -> (u16, u16) {
    match rustix::termios::tcgetwinsize(std::io::stderr()) {
        Ok(size) if size.ws_row > 0 && size.ws_col > 0 => (size.ws_row, size.ws_col),
        _ => (24, 80),
    }
}
