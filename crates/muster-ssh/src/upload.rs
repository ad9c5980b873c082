//! Files for a machine: whole or not at all, and not a second time.
//!
//! It refuses to know what is in the files.

use std::fmt;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest;
use muster_identity::Secret;
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

use crate::carrier::{Carrier, Event, Input, Session};
use crate::dialogue::{AFTER_THE_END, Talk, next_until, nonce};
use crate::script::{self, CANNOT_WRITE, DAMAGED};
use crate::{Exit, MachineError, OutputLine, Stream, Uploaded};

/// How much is read and sent at once, in bytes.
const PIECE: usize = 128 << 10;

/// What a file should contain. Cheap to clone: one payload serves many machines, and is hashed once.
#[derive(Clone)]
pub struct Payload {
    content: Content,
    sha256: String,
}

#[derive(Clone)]
enum Content {
    Bytes(Arc<Secret<Vec<u8>>>),
    File(Arc<Path>),
}

impl Payload {
    /// These bytes.
    pub fn bytes(bytes: Secret<Vec<u8>>) -> Self {
        let sha256 = hex(digest::digest(&digest::SHA256, bytes.expose()).as_ref());
        Self {
            content: Content::Bytes(Arc::new(bytes)),
            sha256,
        }
    }

    /// The content of a file of this machine. Each upload reads it again; a change in between is noticed.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn file(path: impl Into<PathBuf>) -> Result<Self, MachineError> {
        let path: Arc<Path> = path.into().into();
        let mut file = open(&path).await?;
        let mut context = digest::Context::new(&digest::SHA256);
        let mut piece = vec![0; PIECE];
        loop {
            let length = file
                .read(&mut piece)
                .await
                .map_err(|error| unreadable(&path, error))?;
            let Some(read) = piece.get(..length).filter(|read| !read.is_empty()) else {
                break;
            };
            context.update(read);
        }
        Ok(Self {
            content: Content::File(path),
            sha256: hex(context.finish().as_ref()),
        })
    }

    /// SHA-256 of the content, as 64 hexadecimal digits.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    async fn send(&self, input: &mut dyn Input) -> Result<(), MachineError> {
        match &self.content {
            Content::Bytes(bytes) => {
                for piece in bytes.expose().chunks(PIECE) {
                    input.write(piece).await?;
                }
            }
            Content::File(path) => {
                let mut file = open(path).await?;
                let mut piece = vec![0; PIECE];
                loop {
                    let length = file
                        .read(&mut piece)
                        .await
                        .map_err(|error| unreadable(path, error))?;
                    let Some(read) = piece.get(..length).filter(|read| !read.is_empty()) else {
                        break;
                    };
                    input.write(read).await?;
                }
            }
        }
        input.finish().await
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Payload");
        if let Content::File(path) = &self.content {
            debug.field("path", path);
        }
        debug.field("sha256", &self.sha256).finish()
    }
}

async fn open(path: &Path) -> Result<tokio::fs::File, MachineError> {
    tokio::fs::File::open(path)
        .await
        .map_err(|error| unreadable(path, error))
}

fn unreadable(path: &Path, error: std::io::Error) -> MachineError {
    MachineError::local(format!("read {}", path.display()), error)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A file that should be on a machine.
#[derive(Debug, Clone)]
pub struct Upload {
    /// What it contains.
    pub payload: Payload,
    /// Where: an absolute path. Folders that are missing are made, mode 0755.
    pub path: String,
    /// Its permissions, as in `0o755`. Until it is complete nobody but its owner can read it.
    pub mode: u32,
    /// Whether root writes it, by sudo when the connection's user is another.
    pub as_root: bool,
}

/// Brings a file to a machine.
pub(crate) async fn upload(
    carrier: &dyn Carrier,
    upload: &Upload,
) -> Result<Uploaded, MachineError> {
    let nonce = nonce()?;
    let mode = format!("{:04o}", upload.mode & 0o7777);
    let failed = |detail: String| MachineError::UploadFailed {
        host: carrier.name().to_owned(),
        path: upload.path.clone(),
        detail,
    };
    if !upload.path.starts_with('/') || upload.path.contains('\0') {
        return Err(failed("this is no absolute path".to_owned()));
    }
    let words = [
        "sh",
        "-c",
        script::UPLOAD,
        "muster",
        &nonce,
        &upload.path,
        &upload.payload.sha256,
        &mode,
    ];
    let argv = words.map(str::to_owned).to_vec();
    let talk = Talk::begin(carrier, "sh", argv, upload.as_root, &nonce).await?;
    let mut heard = UploadHeard::default();
    let end = heard.listen(talk, &upload.payload).await?;
    match (heard.outcome, end) {
        (Some(outcome), Some(Exit::Code(0))) => Ok(outcome),
        (_, Some(Exit::Code(DAMAGED))) => Err(MachineError::UploadCorrupt {
            host: carrier.name().to_owned(),
            path: upload.path.clone(),
        }),
        (_, Some(Exit::Code(CANNOT_WRITE))) if !heard.errors.is_empty() => {
            Err(failed(heard.errors.join("; ")))
        }
        (_, Some(exit)) => {
            heard.errors.push(exit.to_string());
            Err(failed(heard.errors.join("; ")))
        }
        (_, None) => Err(MachineError::ConnectionLost {
            host: carrier.name().to_owned(),
            detail: "it ended before the upload did".to_owned(),
        }),
    }
}

/// What the script has said so far.
#[derive(Default)]
struct UploadHeard {
    errors: Vec<String>,
    wanted: Option<Uploaded>,
    outcome: Option<Uploaded>,
}

impl UploadHeard {
    fn take(&mut self, line: OutputLine) {
        match (line.stream, line.text.as_str()) {
            (Stream::Stdout, "same") => self.outcome = Some(Uploaded::AlreadyThere),
            (Stream::Stdout, "send-new") => self.wanted = Some(Uploaded::Created),
            (Stream::Stdout, "send-old") => self.wanted = Some(Uploaded::Replaced),
            (Stream::Stdout, "done") => self.outcome = self.wanted,
            (Stream::Stderr, _) if self.errors.len() < 10 => self.errors.push(line.text),
            _ => {}
        }
    }

    /// Sends the content when it is asked for, and listens to the end.
    async fn listen(
        &mut self,
        talk: Talk,
        payload: &Payload,
    ) -> Result<Option<Exit>, MachineError> {
        let Talk {
            session,
            mut heard,
            mut end,
        } = talk;
        let Session {
            mut input,
            mut events,
        } = session;
        heard.flush(&mut |line| self.take(line));
        let mut asked = false;
        let mut sent = false;
        let (ask, wait) = tokio::sync::oneshot::channel();
        let mut ask = Some(ask);
        let mut sending = Box::pin(async {
            // Nothing is read before it is asked for.
            if wait.await.is_ok() {
                payload.send(input.as_mut()).await?;
            }
            Ok::<_, MachineError>(())
        });
        loop {
            if self.wanted.is_some()
                && let Some(ask) = ask.take()
            {
                asked = true;
                let _ = ask.send(());
            }
            let until = end.as_ref().map(|_| Instant::now() + AFTER_THE_END);
            let next = tokio::select! {
                next = next_until(events.as_mut(), until) => next?,
                result = &mut sending, if asked && !sent => {
                    sent = true;
                    // A file that cannot be read here is our failure; a door that closed is told by the script's end.
                    match result {
                        Err(error @ MachineError::LocalFailed { .. }) => return Err(error),
                        _ => continue,
                    }
                }
            };
            match next {
                Some(Event::Exit(exit)) => end = Some(exit),
                Some(event) => heard.take(event, &mut |line| self.take(line)),
                None => break,
            }
        }
        heard.finish(&mut |line| self.take(line));
        Ok(end)
    }
}
