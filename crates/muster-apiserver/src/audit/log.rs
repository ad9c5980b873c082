//! The audit log: JSON lines on standard output or in a file that is renamed when it is large, written by a thread of
//! its own. Requests never wait for it: what finds no room is dropped and counted.
//!
//! Refuses to know: what the lines say. Rotation is that of kube-apiserver's log backend (`lumberjack`).

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError},
    },
    thread,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use crate::system::AuditMetrics;

/// Lines that wait to be written.
const QUEUE: usize = 10_000;
/// Bytes that wait to be written.
const FLUSH_EVERY: Duration = Duration::from_secs(1);
/// The size of a file where none is given, in megabytes (as upstream).
const DEFAULT_SIZE: u64 = 100;
const MEGABYTE: u64 = 1024 * 1024;
/// How long the end waits for the last lines.
const FAREWELL: Duration = Duration::from_secs(5);

/// Where the audit log goes and how much of it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditLog {
    /// The file, or `-` for standard output.
    pub path: PathBuf,
    /// The size in megabytes at which the file is renamed; 0 for 100.
    pub max_size: u64,
    /// How many renamed files are kept; 0 for all.
    pub max_backups: usize,
    /// How many days renamed files are kept; 0 for ever.
    pub max_age: u32,
}

/// The end of the queue that requests write to.
pub(super) struct LogWriter {
    lines: Mutex<Option<SyncSender<Vec<u8>>>>,
    written: Mutex<Option<mpsc::Receiver<()>>>,
    metrics: Arc<AuditMetrics>,
}

impl LogWriter {
    /// Opens the log and begins writing.
    pub(super) fn open(log: &AuditLog, metrics: Arc<AuditMetrics>) -> io::Result<Self> {
        let sink = Sink::open(log)?;
        let (lines, queue) = mpsc::sync_channel(QUEUE);
        let (ended, written) = mpsc::channel();
        let counting = Arc::clone(&metrics);
        thread::Builder::new()
            .name("audit-log".to_owned())
            .spawn(move || {
                write_all(sink, &queue, &counting);
                // Nobody may be waiting.
                let _ = ended.send(());
            })?;
        Ok(Self {
            lines: Mutex::new(Some(lines)),
            written: Mutex::new(Some(written)),
            metrics,
        })
    }

    /// Puts a line into the queue, if there is room.
    pub(super) fn write(&self, line: Vec<u8>) {
        let lines = self.lines.lock();
        let Some(lines) = lines.as_ref() else {
            return self.metrics.error("buffered");
        };
        match lines.try_send(line) {
            Ok(()) => self.metrics.event(),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.metrics.error("buffered");
            }
        }
    }

    /// Writes what is in the queue, and ends. Blocks for a few seconds at most.
    pub(super) fn close(&self) {
        self.lines.lock().take();
        if let Some(written) = self.written.lock().take()
            && written.recv_timeout(FAREWELL).is_err()
        {
            tracing::warn!("the last lines of the audit log may be missing");
        }
    }
}

fn write_all(mut sink: Sink, queue: &Receiver<Vec<u8>>, metrics: &AuditMetrics) {
    loop {
        match queue.recv_timeout(FLUSH_EVERY) {
            Ok(line) => {
                let mut written = sink.line(&line);
                while let Ok(line) = queue.try_recv() {
                    written = written.and_then(|()| sink.line(&line));
                }
                if let Err(error) = written.and_then(|()| sink.flush()) {
                    metrics.error("log");
                    tracing::error!(%error, "the audit log cannot be written");
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    if let Err(error) = sink.flush() {
        tracing::error!(%error, "the audit log cannot be written");
    }
}

/// What lines are written to.
enum Sink {
    Stdout,
    File(RotatedFile),
}

impl Sink {
    fn open(log: &AuditLog) -> io::Result<Self> {
        if log.path == Path::new("-") {
            return Ok(Self::Stdout);
        }
        RotatedFile::open(log.clone()).map(Self::File)
    }

    fn line(&mut self, line: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => io::stdout().lock().write_all(line),
            Self::File(file) => file.line(line),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout => io::stdout().lock().flush(),
            Self::File(file) => file.file.flush(),
        }
    }
}

struct RotatedFile {
    log: AuditLog,
    file: BufWriter<File>,
    size: u64,
}

impl RotatedFile {
    fn open(log: AuditLog) -> io::Result<Self> {
        if let Some(folder) = log
            .path
            .parent()
            .filter(|path| !path.as_os_str().is_empty())
        {
            fs::create_dir_all(folder)?;
        }
        let (file, size) = append_to(&log.path)?;
        Ok(Self { log, file, size })
    }

    fn line(&mut self, line: &[u8]) -> io::Result<()> {
        let limit = match self.log.max_size {
            0 => DEFAULT_SIZE,
            size => size,
        };
        let length = line.len() as u64;
        if self.size > 0 && self.size + length > limit.saturating_mul(MEGABYTE) {
            self.rotate(Timestamp::now())?;
        }
        self.size += length;
        self.file.write_all(line)
    }

    /// Renames the file after the time and begins a new one.
    fn rotate(&mut self, now: Timestamp) -> io::Result<()> {
        self.file.flush()?;
        let mut time = now;
        let mut backup = backup_name(&self.log.path, time);
        while backup.exists() {
            time += SignedDuration::from_millis(1);
            backup = backup_name(&self.log.path, time);
        }
        fs::rename(&self.log.path, &backup)?;
        let (file, size) = append_to(&self.log.path)?;
        (self.file, self.size) = (file, size);
        self.forget(now);
        Ok(())
    }

    /// Removes renamed files that are too many or too old.
    fn forget(&self, now: Timestamp) {
        let mut backups = backups(&self.log.path);
        backups.sort_by_key(|(time, _)| std::cmp::Reverse(*time));
        let kept = match self.log.max_backups {
            0 => usize::MAX,
            count => count,
        };
        let age = SignedDuration::from_hours(24 * i64::from(self.log.max_age));
        let is_old = |time: Timestamp| !age.is_zero() && now.duration_since(time) > age;
        for (place, (time, path)) in backups.into_iter().enumerate() {
            if (place >= kept || is_old(time))
                && let Err(error) = fs::remove_file(&path)
            {
                tracing::warn!(%error, path = %path.display(), "an old audit log cannot be removed");
            }
        }
    }
}

/// Opens a file for its owner alone.
fn append_to(path: &Path) -> io::Result<(BufWriter<File>, u64)> {
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    let size = file.metadata()?.len();
    Ok((BufWriter::new(file), size))
}

/// `audit.log` becomes `audit-2026-01-31T09-05-07.123.log`.
fn backup_name(path: &Path, time: Timestamp) -> PathBuf {
    let (stem, extension) = name_parts(path);
    path.with_file_name(format!("{stem}-{}{extension}", stamp(time)))
}

fn stamp(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H-%M-%S.%3f").to_string()
}

fn name_parts(path: &Path) -> (String, String) {
    let text = |part: Option<&std::ffi::OsStr>| {
        part.map(|part| part.to_string_lossy().into_owned())
            .unwrap_or_default()
    };
    let extension = match text(path.extension()) {
        none if none.is_empty() => none,
        some => format!(".{some}"),
    };
    (text(path.file_stem()), extension)
}

fn backups(path: &Path) -> Vec<(Timestamp, PathBuf)> {
    let folder = path.parent().filter(|path| !path.as_os_str().is_empty());
    let Ok(entries) = fs::read_dir(folder.unwrap_or_else(|| Path::new("."))) else {
        return Vec::new();
    };
    let (stem, extension) = name_parts(path);
    let read = |entry: fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let time = name.strip_prefix(&stem)?.strip_prefix('-')?;
        let time = time.strip_suffix(&extension)?;
        let (day, clock) = time.split_once('T')?;
        let time = format!("{day}T{}Z", clock.replacen('-', ":", 2));
        Some((time.parse().ok()?, entry.path()))
    };
    entries.filter_map(Result::ok).filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn log(folder: &Path) -> AuditLog {
        AuditLog {
            path: folder.join("deep/audit.log"),
            max_size: 1,
            max_backups: 2,
            max_age: 0,
        }
    }

    #[test]
    fn a_file_that_is_full_is_renamed_and_the_oldest_go() {
        let folder = tempfile::TempDir::new().unwrap();
        let log = log(folder.path());
        let mut file = RotatedFile::open(log.clone()).unwrap();
        let line = vec![b'x'; 700 * 1024];
        for _ in 0..5 {
            file.line(&line).unwrap();
        }
        file.file.flush().unwrap();
        assert_eq!(backups(&log.path).len(), 2, "four were made");
        for (_, path) in backups(&log.path)
            .into_iter()
            .chain([(Timestamp::UNIX_EPOCH, log.path.clone())])
        {
            let found = fs::metadata(&path).unwrap();
            assert_eq!(
                found.permissions().mode() & 0o777,
                0o600,
                "{}",
                path.display()
            );
            assert_eq!(found.len(), line.len() as u64);
        }
    }

    #[test]
    fn old_files_go_and_strange_ones_stay() {
        let folder = tempfile::TempDir::new().unwrap();
        let log = AuditLog {
            max_backups: 0,
            max_age: 2,
            ..log(folder.path())
        };
        let file = RotatedFile::open(log.clone()).unwrap();
        let now: Timestamp = "2026-01-10T00:00:00Z".parse().unwrap();
        let old = backup_name(&log.path, now - SignedDuration::from_hours(49));
        let young = backup_name(&log.path, now - SignedDuration::from_hours(47));
        let strange = log.path.with_file_name("audit-notes.log");
        for path in [&old, &young, &strange] {
            fs::write(path, "x").unwrap();
        }
        assert_eq!(
            old.file_name().unwrap(),
            "audit-2026-01-07T23-00-00.000.log"
        );
        file.forget(now);
        assert_eq!(
            (old.exists(), young.exists(), strange.exists()),
            (false, true, true)
        );
    }

    #[test]
    fn everything_that_was_taken_is_written_before_the_end() {
        let folder = tempfile::TempDir::new().unwrap();
        let log = log(folder.path());
        let writer = LogWriter::open(&log, Arc::default()).unwrap();
        for n in 0..1000 {
            writer.write(format!("{n}\n").into_bytes());
        }
        writer.close();
        writer.write(b"too late\n".to_vec());
        let text = fs::read_to_string(&log.path).unwrap();
        assert_eq!(text.lines().count(), 1000);
        assert!(text.ends_with("999\n"));
    }
}
