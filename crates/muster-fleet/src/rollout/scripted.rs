//! A machine in memory for tests: it answers commands as it was told to, and remembers what it was asked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use muster_ssh::{
    Command, Exit, Machine, MachineError, OnLine, OutputLine, Stream, Upload, Uploaded,
};
use parking_lot::Mutex;

/// What a command answers: an exit status and lines; those that begin with `!` are on standard error.
#[derive(Clone)]
pub(crate) struct Answer {
    code: u32,
    lines: Vec<String>,
    takes: Duration,
    lost: bool,
    hangs: bool,
    then: Option<Arc<dyn Fn() + Send + Sync>>,
}

/// An exit status and what is written.
pub(crate) fn says(code: u32, text: &str) -> Answer {
    Answer {
        code,
        lines: text.lines().map(str::to_owned).collect(),
        takes: Duration::ZERO,
        lost: false,
        hangs: false,
        then: None,
    }
}

impl Answer {
    /// The same after some time.
    pub(crate) fn after(self, takes: Duration) -> Self {
        Self { takes, ..self }
    }

    /// The same, and something happens.
    pub(crate) fn then(self, deed: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            then: Some(Arc::new(deed)),
            ..self
        }
    }
}

/// The connection breaks.
pub(crate) fn breaks() -> Answer {
    Answer {
        lost: true,
        ..says(0, "")
    }
}

/// It never ends.
pub(crate) fn hangs() -> Answer {
    Answer {
        hangs: true,
        ..says(0, "")
    }
}

/// A command that was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// Its words, with spaces between.
    pub(crate) line: String,
    /// Its standard input.
    pub(crate) stdin: String,
    /// Whether as root.
    pub(crate) as_root: bool,
}

#[derive(Default)]
struct Inside {
    answers: Vec<(String, Answer, bool)>,
    calls: Vec<Call>,
    files: BTreeMap<String, usize>,
    closed: bool,
}

/// The machine. Clones are the same one. What nobody told it ends with 127.
#[derive(Clone)]
pub(crate) struct Scripted {
    name: String,
    inside: Arc<Mutex<Inside>>,
}

impl std::fmt::Debug for Scripted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

impl Scripted {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            inside: Arc::default(),
        }
    }

    /// Commands whose line or input has this in it answer so from now on; the last word counts.
    pub(crate) fn on(&self, part: &str, answer: Answer) {
        self.inside
            .lock()
            .answers
            .push((part.to_owned(), answer, false));
    }

    /// As [`Scripted::on`], once.
    pub(crate) fn once(&self, part: &str, answer: Answer) {
        self.inside
            .lock()
            .answers
            .push((part.to_owned(), answer, true));
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.inside.lock().calls.clone()
    }

    /// How many commands had this in their line.
    pub(crate) fn count(&self, part: &str) -> usize {
        let inside = self.inside.lock();
        inside
            .calls
            .iter()
            .filter(|call| call.line.contains(part))
            .count()
    }

    fn answer(&self, line: &str) -> Answer {
        let mut inside = self.inside.lock();
        let found = inside
            .answers
            .iter()
            .rposition(|(part, ..)| line.contains(part.as_str()));
        match found {
            Some(at) if inside.answers[at].2 => inside.answers.remove(at).1,
            Some(at) => inside.answers[at].1.clone(),
            None => says(127, "!sh: not found"),
        }
    }

    fn lost(&self) -> MachineError {
        MachineError::ConnectionLost {
            host: self.name.clone(),
            detail: "by the test".to_owned(),
        }
    }
}

#[async_trait]
impl Machine for Scripted {
    fn name(&self) -> &str {
        &self.name
    }

    async fn run(&self, command: Command, on_line: OnLine<'_>) -> Result<Exit, MachineError> {
        let line = command.argv.join(" ");
        let stdin = command
            .stdin
            .as_ref()
            .map(|bytes| String::from_utf8_lossy(bytes.expose()).into_owned());
        self.inside.lock().calls.push(Call {
            line: line.clone(),
            stdin: stdin.unwrap_or_default(),
            as_root: command.as_root,
        });
        let answer = self.answer(&line);
        tokio::time::sleep(answer.takes).await;
        if answer.hangs {
            std::future::pending::<()>().await;
        }
        if let Some(deed) = &answer.then {
            deed();
        }
        if answer.lost {
            return Err(self.lost());
        }
        for line in answer.lines {
            let (stream, text) = match line.strip_prefix('!') {
                Some(text) => (Stream::Stderr, text.to_owned()),
                None => (Stream::Stdout, line),
            };
            on_line(OutputLine { stream, text });
        }
        Ok(Exit::Code(answer.code))
    }

    async fn upload(&self, upload: Upload) -> Result<Uploaded, MachineError> {
        let mut inside = self.inside.lock();
        let before = inside.files.insert(upload.path.clone(), 1);
        Ok(if before.is_some() {
            Uploaded::AlreadyThere
        } else {
            Uploaded::Created
        })
    }

    async fn close(&self) {
        self.inside.lock().closed = true;
    }
}
