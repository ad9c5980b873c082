//! The talk with a shell on the other machine: become root if asked, wait until our script has begun, feed it, hear its end.
//!
//! sudo's password is written only after sudo has asked for it, and the command's own input only after the script has
//! said that it runs: neither can be taken for the other. This file refuses to know how the machine is reached.

use std::time::Duration;

use muster_identity::Secret;
use tokio::time::{Instant, timeout, timeout_at};

use crate::carrier::{Carrier, Event, Events, Input, Session};
use crate::lines::Lines;
use crate::script::{self, prompt, ready};
use crate::{Command, Exit, MachineError, OnLine, OutputLine, Stream, Sudo};

/// The most that a command may be fed, in bytes.
const MOST_INPUT: usize = 1 << 20;
/// How long login shell and sudo may take until our script runs.
const TO_BEGIN: Duration = Duration::from_secs(60);
/// How long output may still come after the end of the process, when somebody else holds the stream open.
pub(crate) const AFTER_THE_END: Duration = Duration::from_secs(1);
/// The most that is kept of what was said before our script, in lines.
const MOST_WORDS: usize = 40;

/// Runs a command on a machine to its end.
pub(crate) async fn run(
    carrier: &dyn Carrier,
    command: Command,
    on_line: OnLine<'_>,
) -> Result<Exit, MachineError> {
    let limit = command.time_limit;
    let work = run_without_limit(carrier, command, on_line);
    let Some(limit) = limit else {
        return work.await;
    };
    timeout(limit, work).await.unwrap_or_else(|_| {
        Err(MachineError::TimedOut {
            host: carrier.name().to_owned(),
            what: "the end of the command",
            after: limit,
        })
    })
}

async fn run_without_limit(
    carrier: &dyn Carrier,
    command: Command,
    on_line: OnLine<'_>,
) -> Result<Exit, MachineError> {
    check(&command)?;
    let nonce = nonce()?;
    let input = command.stdin.unwrap_or_else(|| Secret::new(Vec::new()));
    let program = command.argv.first().cloned().unwrap_or_default();
    let mut argv = Vec::new();
    if !command.env.is_empty() {
        argv.push("env".to_owned());
        argv.extend(
            command
                .env
                .iter()
                .map(|(name, value)| format!("{name}={value}")),
        );
    }
    argv.extend(["sh", "-c", script::RUN, "muster", &nonce].map(str::to_owned));
    argv.push(input.expose().len().to_string());
    argv.extend(command.argv);
    let talk = Talk::begin(carrier, &program, argv, command.as_root, &nonce).await?;
    let Talk {
        session,
        mut heard,
        mut end,
    } = talk;
    let Session {
        input: mut door,
        mut events,
    } = session;
    heard.flush(on_line);
    let mut feeding = Box::pin(async {
        // A command that ends without reading its input is no failure: its end tells. The door stays open: its closing
        // would end the command.
        let _ = door.write(input.expose()).await;
    });
    let mut fed = false;
    loop {
        let until = end.as_ref().map(|_| Instant::now() + AFTER_THE_END);
        let next = tokio::select! {
            next = next_until(events.as_mut(), until) => next?,
            () = &mut feeding, if !fed => {
                fed = true;
                continue;
            }
        };
        match next {
            Some(Event::Exit(exit)) => end = Some(exit),
            Some(event) => heard.take(event, on_line),
            None => break,
        }
    }
    heard.finish(on_line);
    end.ok_or_else(|| MachineError::ConnectionLost {
        host: carrier.name().to_owned(),
        detail: "it ended before the command did".to_owned(),
    })
}

/// The next event; the end as well when nothing came until then.
pub(crate) async fn next_until(
    events: &mut dyn Events,
    until: Option<Instant>,
) -> Result<Option<Event>, MachineError> {
    match until {
        Some(until) => timeout_at(until, events.next()).await.unwrap_or(Ok(None)),
        None => events.next().await,
    }
}

fn check(command: &Command) -> Result<(), MachineError> {
    let wrong = |what: &str| {
        Err(MachineError::local(
            format!("run {:?}", command.argv.first()),
            std::io::Error::new(std::io::ErrorKind::InvalidInput, what),
        ))
    };
    let name = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    match command.argv.first() {
        None => return wrong("there is no program to run"),
        Some(program) if program.is_empty() || program.starts_with('-') => {
            return wrong("this is no name of a program");
        }
        Some(_) => {}
    }
    if command.argv.iter().any(|word| word.contains('\0')) {
        return wrong("an argument contains a zero byte");
    }
    if !command
        .env
        .iter()
        .all(|(key, value)| name(key) && !value.contains('\0'))
    {
        return wrong("the name or value of an environment variable is not allowed");
    }
    let length = command
        .stdin
        .as_ref()
        .map_or(0, |input| input.expose().len());
    if length > MOST_INPUT {
        return wrong("the standard input is longer than 1 MiB");
    }
    Ok(())
}

/// Sixteen hexadecimal digits that nobody can know before.
pub(crate) fn nonce() -> Result<String, MachineError> {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| {
        let source = std::io::Error::other("the random generator failed");
        MachineError::local("make a random name", source)
    })?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A session in which our script runs.
pub(crate) struct Talk {
    pub(crate) session: Session,
    pub(crate) heard: Heard,
    /// It has ended already; output may still be on its way.
    pub(crate) end: Option<Exit>,
}

impl Talk {
    /// Starts the script, as root if asked, and waits until it runs. `program` is for messages.
    pub(crate) async fn begin(
        carrier: &dyn Carrier,
        program: &str,
        script: Vec<String>,
        as_root: bool,
        nonce: &str,
    ) -> Result<Self, MachineError> {
        let by_sudo = as_root && !carrier.is_root();
        let argv = if by_sudo {
            sudo_argv(carrier.sudo(), nonce, script)
        } else {
            script
        };
        let beginning = Beginning {
            carrier,
            program,
            nonce,
            by_sudo,
            asked: false,
            heard: Heard::new(nonce),
        };
        timeout(TO_BEGIN, beginning.wait(&argv))
            .await
            .unwrap_or_else(|_| {
                Err(MachineError::TimedOut {
                    host: carrier.name().to_owned(),
                    what: if by_sudo { "sudo" } else { "the login shell" },
                    after: TO_BEGIN,
                })
            })
    }
}

fn sudo_argv(sudo: &Sudo, nonce: &str, script: Vec<String>) -> Vec<String> {
    // Its words are matched below, so they must be English.
    let mut argv = ["env", "LC_ALL=C", "LANGUAGE=C", "sudo"]
        .map(str::to_owned)
        .to_vec();
    match sudo {
        Sudo::Passwordless => argv.push("-n".to_owned()),
        Sudo::Password(_) => argv.extend(["-S".to_owned(), "-p".to_owned(), prompt(nonce)]),
    }
    argv.push("--".to_owned());
    argv.extend(script);
    argv
}

/// The part before our script runs.
struct Beginning<'a> {
    carrier: &'a dyn Carrier,
    program: &'a str,
    nonce: &'a str,
    by_sudo: bool,
    asked: bool,
    heard: Heard,
}

impl Beginning<'_> {
    async fn wait(mut self, argv: &[String]) -> Result<Talk, MachineError> {
        let mut session = self.carrier.start(argv).await?;
        let mut end = None;
        loop {
            let until = end.as_ref().map(|_| Instant::now() + AFTER_THE_END);
            match next_until(session.events.as_mut(), until).await? {
                Some(Event::Exit(exit)) => end = Some(exit),
                Some(event) => self.heard.take_early(event),
                None => return Err(self.failure(end)),
            }
            if self.heard.has_begun() {
                let heard = self.heard;
                return Ok(Talk {
                    session,
                    heard,
                    end,
                });
            }
            if self.by_sudo && self.heard.is_asked(self.nonce) {
                self.answer(session.input.as_mut()).await?;
            }
        }
    }

    async fn answer(&mut self, input: &mut dyn Input) -> Result<(), MachineError> {
        self.heard.forget_the_question();
        let Sudo::Password(password) = self.carrier.sudo() else {
            return Err(self.password_needed());
        };
        if self.asked {
            return Err(MachineError::SudoPasswordWrong {
                host: self.carrier.name().to_owned(),
                user: self.carrier.user().to_owned(),
            });
        }
        self.asked = true;
        let mut line = Secret::new(Vec::with_capacity(password.expose().len() + 1));
        line.expose_mut()
            .extend_from_slice(password.expose().as_bytes());
        line.expose_mut().push(b'\n');
        input.write(line.expose()).await
    }

    fn password_needed(&self) -> MachineError {
        MachineError::SudoPasswordNeeded {
            host: self.carrier.name().to_owned(),
            user: self.carrier.user().to_owned(),
        }
    }

    /// Why the session ended before our script ran.
    fn failure(&self, end: Option<Exit>) -> MachineError {
        let host = self.carrier.name().to_owned();
        let user = self.carrier.user().to_owned();
        let said = self.heard.words.join("; ");
        let says = |text: &str| said.contains(text);
        if end.is_none() {
            return MachineError::ConnectionLost {
                host,
                detail: "it ended before the command began".to_owned(),
            };
        }
        if said.contains(&script::missing(self.nonce)) {
            let program = self.program.to_owned();
            return MachineError::CommandNotFound { host, program };
        }
        if !self.by_sudo {
            return MachineError::SessionRefused {
                host,
                detail: or_status(said, end.as_ref()),
            };
        }
        if says("a password is required") || says("a terminal is required to read the password") {
            return if self.asked {
                MachineError::SudoPasswordWrong { host, user }
            } else {
                MachineError::SudoPasswordNeeded { host, user }
            };
        }
        if says("incorrect password attempt") {
            return MachineError::SudoPasswordWrong { host, user };
        }
        let not_allowed = [
            "not in the sudoers file",
            "is not allowed to",
            "may not run sudo",
        ];
        if not_allowed.iter().any(|text| says(text)) {
            return MachineError::SudoNotAllowed {
                host,
                user,
                detail: said,
            };
        }
        if end == Some(Exit::Code(127)) {
            return MachineError::SudoFailed {
                host,
                detail: "it is not installed".to_owned(),
            };
        }
        MachineError::SudoFailed {
            host,
            detail: or_status(said, end.as_ref()),
        }
    }
}

fn or_status(said: String, end: Option<&Exit>) -> String {
    match end {
        Some(exit) if said.is_empty() => exit.to_string(),
        _ => said,
    }
}

/// Both streams, each with our script's first line as the border between others' words and the command's own.
pub(crate) struct Heard {
    ready: String,
    out: Half,
    err: Half,
    words: Vec<String>,
    early: Vec<OutputLine>,
}

struct Half {
    stream: Stream,
    lines: Lines,
    begun: bool,
}

impl Half {
    fn new(stream: Stream) -> Self {
        Self {
            stream,
            lines: Lines::default(),
            begun: false,
        }
    }

    fn sort(&mut self, text: String, ready: &str, words: &mut Vec<String>, on_line: OnLine<'_>) {
        if self.begun {
            on_line(OutputLine {
                stream: self.stream,
                text,
            });
        } else if text.ends_with(ready) {
            // Others may have left a line without an end before it.
            self.begun = true;
        } else if words.len() < MOST_WORDS && !text.is_empty() {
            words.push(text);
        }
    }
}

impl Heard {
    fn new(nonce: &str) -> Self {
        Self {
            ready: ready(nonce),
            out: Half::new(Stream::Stdout),
            err: Half::new(Stream::Stderr),
            words: Vec::new(),
            early: Vec::new(),
        }
    }

    /// Whether our script runs.
    const fn has_begun(&self) -> bool {
        self.out.begun
    }

    /// Whether sudo waits for an answer.
    fn is_asked(&self, nonce: &str) -> bool {
        let text = String::from_utf8_lossy(self.err.lines.pending()).to_lowercase();
        // A PAM module may ask in words of its own.
        text.ends_with(&prompt(nonce)) || text.trim_end().ends_with("password:")
    }

    fn forget_the_question(&mut self) {
        self.err.lines.forget();
    }

    /// As [`Heard::take`], while nobody listens yet.
    fn take_early(&mut self, event: Event) {
        let mut early = std::mem::take(&mut self.early);
        self.take(event, &mut |line| early.push(line));
        self.early = early;
    }

    /// Hands over what came while nobody listened.
    pub(crate) fn flush(&mut self, on_line: OnLine<'_>) {
        self.early.drain(..).for_each(on_line);
    }

    /// Hands over the lines of the command's own output.
    pub(crate) fn take(&mut self, event: Event, on_line: OnLine<'_>) {
        let (half, bytes) = match event {
            Event::Stdout(bytes) => (&mut self.out, bytes),
            Event::Stderr(bytes) => (&mut self.err, bytes),
            Event::Exit(_) => return,
        };
        let (ready, words) = (&self.ready, &mut self.words);
        let mut lines = std::mem::take(&mut half.lines);
        lines.push(&bytes, |line| half.sort(line, ready, words, on_line));
        half.lines = lines;
    }

    /// Hands over last lines that have no end.
    pub(crate) fn finish(&mut self, on_line: OnLine<'_>) {
        for half in [&mut self.out, &mut self.err] {
            let (ready, words) = (&self.ready, &mut self.words);
            let mut lines = std::mem::take(&mut half.lines);
            lines.finish(|line| half.sort(line, ready, words, on_line));
        }
    }
}
