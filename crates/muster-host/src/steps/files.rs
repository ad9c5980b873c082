//! Files, links and directories: replace in one move, remember what was there, bring it back.
//!
//! A file that is replaced is first copied, whole and durable, to a backup named after the step. Backup and temporary
//! names follow from the step's name alone, so a repetition after a power cut meets its own leftovers and nobody
//! else's.

use std::io;

use muster_plan::paths;
use muster_saga::Residue;

use super::io_error;
use crate::disk::{Disk, Kind, parent};
use crate::prior::Attributes;
use crate::{HostError, Prior};

/// No replaced file is larger: the files that a join replaces are small.
const MAX_BACKUP: usize = 16 << 20;

/// The file steps over a tree.
pub(crate) struct Files<'a, D>(pub(crate) &'a D);

fn backup_path(id: &str) -> String {
    format!("{}/{id}", paths::BACKUP_DIR)
}

fn temporary(id: &str, path: &str) -> String {
    format!("{}/.muster-{id}.tmp", parent(path).trim_end_matches('/'))
}

impl<D: Disk> Files<'_, D> {
    pub(super) fn observe(&self, path: &str) -> Result<Prior, HostError> {
        let Some(stat) = self.0.stat(path).map_err(io_error("look at", path))? else {
            return Ok(Prior::Absent);
        };
        match stat.kind {
            Kind::File => Ok(Prior::File(stat.attributes)),
            Kind::Link => {
                let target = self.0.link_target(path).map_err(io_error("read", path))?;
                Ok(Prior::Link { target })
            }
            found => Err(HostError::WrongKind {
                path: path.to_owned(),
                found: found.name(),
                wanted: "a file",
            }),
        }
    }

    pub(super) fn observe_dir(&self, path: &str) -> Result<Prior, HostError> {
        Ok(Prior::Dirs {
            missing: self.missing_dirs(path)?,
            entries: Vec::new(),
        })
    }

    /// The directories on the way to `path`, and itself, that do not exist; outermost first.
    pub(super) fn missing_dirs(&self, path: &str) -> Result<Vec<String>, HostError> {
        let mut missing = Vec::new();
        let mut at = path;
        while at != "/" {
            match self.0.stat(at).map_err(io_error("look at", at))? {
                // A link to a directory is as good as a directory: /var/run is one.
                Some(stat) if matches!(stat.kind, Kind::Dir | Kind::Link) => break,
                Some(stat) => {
                    return Err(HostError::WrongKind {
                        path: at.to_owned(),
                        found: stat.kind.name(),
                        wanted: "a directory",
                    });
                }
                None => missing.push(at.to_owned()),
            }
            at = parent(at);
        }
        missing.reverse();
        Ok(missing)
    }

    pub(super) fn make_dirs(&self, path: &str, mode: u32, prior: &Prior) -> Result<(), HostError> {
        let ours: &[String] = match prior {
            Prior::Dirs { missing, .. } => missing,
            _ => &[],
        };
        for dir in self.missing_dirs(path)? {
            let mode = if dir == path { mode } else { 0o755 };
            self.0
                .make_dir(&dir, mode)
                .map_err(io_error("make directory", &dir))?;
        }
        // A former attempt may have been cut off between making a directory and giving it its mode.
        if ours.iter().any(|dir| dir == path) {
            self.0
                .set_mode(path, mode)
                .map_err(io_error("set the mode of", path))?;
        }
        Ok(())
    }

    pub(super) fn remove_made_dirs(
        &self,
        _path: &str,
        prior: &Prior,
    ) -> Result<Vec<Residue>, HostError> {
        let Prior::Dirs { missing, .. } = prior else {
            return Ok(Vec::new());
        };
        for dir in missing.iter().rev() {
            match self.0.remove_dir(dir) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                    return Ok(vec![Residue {
                        what: format!("directory {dir}"),
                        why: "somebody else has put something into it".into(),
                        remedy: format!("Look at it, then: rm -r {dir}"),
                    }]);
                }
                Err(error) => return Err(io_error("remove directory", dir)(error)),
            }
        }
        Ok(Vec::new())
    }

    /// Writes a file in one move, after a copy of what it replaces is safe.
    pub(super) fn replace(
        &self,
        id: &str,
        path: &str,
        mode: u32,
        content: &[u8],
        prior: &Prior,
    ) -> Result<(), HostError> {
        self.back_up(id, path, prior)?;
        let temporary = temporary(id, path);
        self.remove_if_there(&temporary)?;
        self.0
            .create(&temporary, mode, content)
            .map_err(io_error("write", path))?;
        self.0
            .rename(&temporary, path)
            .map_err(io_error("write", path))
    }

    pub(super) fn relink(
        &self,
        id: &str,
        path: &str,
        target: &str,
        prior: &Prior,
    ) -> Result<(), HostError> {
        self.back_up(id, path, prior)?;
        let temporary = temporary(id, path);
        self.remove_if_there(&temporary)?;
        self.0
            .link(&temporary, target)
            .map_err(io_error("link", path))?;
        self.0
            .rename(&temporary, path)
            .map_err(io_error("link", path))
    }

    fn back_up(&self, id: &str, path: &str, prior: &Prior) -> Result<(), HostError> {
        let Prior::File(_) = prior else { return Ok(()) };
        let backup = backup_path(id);
        if self.exists(&backup)? {
            return Ok(());
        }
        for dir in self.missing_dirs(paths::BACKUP_DIR)? {
            self.0
                .make_dir(&dir, 0o700)
                .map_err(io_error("make directory", &dir))?;
        }
        let content = self
            .0
            .read(path, MAX_BACKUP)
            .map_err(io_error("read", path))?;
        let half = format!("{backup}.half");
        self.remove_if_there(&half)?;
        // It may hold a key: closed from the first moment, whatever the file's own mode.
        self.0
            .create(&half, 0o600, &content)
            .map_err(io_error("write", &half))?;
        self.0
            .copy_extended(path, &half)
            .map_err(io_error("copy the labels of", path))?;
        self.0
            .rename(&half, &backup)
            .map_err(io_error("write", &backup))
    }

    /// Brings back what was there before the step, or removes what the step made.
    pub(super) fn restore(&self, id: &str, path: &str, prior: &Prior) -> Result<(), HostError> {
        let temporary = temporary(id, path);
        self.remove_if_there(&temporary)?;
        let backup = backup_path(id);
        match prior {
            Prior::Absent => self.remove_if_there(path)?,
            Prior::Link { target } => {
                let same = self
                    .0
                    .stat(path)
                    .is_ok_and(|s| s.is_some_and(|s| s.kind == Kind::Link))
                    && self.0.link_target(path).is_ok_and(|now| now == *target);
                if !same {
                    self.0
                        .link(&temporary, target)
                        .map_err(io_error("link", path))?;
                    self.0
                        .rename(&temporary, path)
                        .map_err(io_error("link", path))?;
                }
            }
            // Without a backup the step never came to replace the file.
            Prior::File(attributes) if self.exists(&backup)? => {
                self.bring_back(&backup, &temporary, path, attributes)?;
            }
            _ => {}
        }
        self.remove_if_there(&format!("{backup}.half"))?;
        self.remove_if_there(&backup)
    }

    fn bring_back(
        &self,
        backup: &str,
        temporary: &str,
        path: &str,
        attributes: &Attributes,
    ) -> Result<(), HostError> {
        let content = self
            .0
            .read(backup, MAX_BACKUP)
            .map_err(io_error("read", backup))?;
        self.0
            .create(temporary, 0o600, &content)
            .map_err(io_error("write", path))?;
        self.0
            .set_attributes(temporary, attributes)
            .map_err(io_error("set the owner and mode of", path))?;
        // Last: a change of mode or owner changes access lists and drops capabilities.
        self.0
            .copy_extended(backup, temporary)
            .map_err(io_error("copy the labels of", path))?;
        self.0
            .rename(temporary, path)
            .map_err(io_error("write", path))
    }

    pub(super) fn remove_if_there(&self, path: &str) -> Result<(), HostError> {
        match self.0.remove(path) {
            Err(error) if !is_absent(&error) => Err(io_error("remove", path)(error)),
            _ => Ok(()),
        }
    }

    pub(super) fn exists(&self, path: &str) -> Result<bool, HostError> {
        Ok(self
            .0
            .stat(path)
            .map_err(io_error("look at", path))?
            .is_some())
    }
}

/// Nothing is there, nor the directory it would be in.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}
