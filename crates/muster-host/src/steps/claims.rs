//! Directories that a join answers for: what appeared in them goes, what was there stays, mounts are never entered.

use std::collections::BTreeSet;
use std::io;

use muster_saga::Residue;

use super::{Files, io_error};
use crate::disk::{Disk, Kind};
use crate::{HostError, Prior};

/// More entries than this are not remembered: a directory so full is in use.
const MAX_ENTRIES: usize = 20_000;
/// Deeper trees are not walked.
const MAX_DEPTH: usize = 64;

/// What a sweep must not touch or enter.
struct Walk<'a> {
    device: u64,
    known: BTreeSet<&'a str>,
    /// Bind mounts of the same file system have the same device: only this list tells them.
    mounts: BTreeSet<String>,
}

impl<D: Disk> Files<'_, D> {
    fn mounts(&self) -> Result<BTreeSet<String>, HostError> {
        self.0
            .mount_points()
            .map_err(io_error("list the mounts below", "/"))
    }

    /// Which part of the path is missing and, if nothing is, everything that the directory holds.
    pub(super) fn observe_claim(&self, path: &str) -> Result<Prior, HostError> {
        let missing = self.missing_dirs(path)?;
        let mut entries = Vec::new();
        if missing.is_empty() {
            let walk = Walk {
                device: self.device(path)?,
                known: BTreeSet::new(),
                mounts: self.mounts()?,
            };
            self.collect(path, "", &walk, 0, &mut entries)?;
        }
        Ok(Prior::Dirs { missing, entries })
    }

    fn device(&self, path: &str) -> Result<u64, HostError> {
        let stat = self.0.stat(path).map_err(io_error("look at", path))?;
        Ok(stat.map_or(0, |stat| stat.device))
    }

    fn collect(
        &self,
        dir: &str,
        relative: &str,
        walk: &Walk<'_>,
        depth: usize,
        entries: &mut Vec<String>,
    ) -> Result<(), HostError> {
        for name in self.0.list(dir).map_err(io_error("list", dir))? {
            if entries.len() >= MAX_ENTRIES || depth >= MAX_DEPTH {
                return Err(HostError::TooManyEntries {
                    path: dir.into(),
                    limit: MAX_ENTRIES,
                });
            }
            let path = format!("{dir}/{name}");
            let relative = join(relative, &name);
            entries.push(relative.clone());
            let stat = self.0.stat(&path).map_err(io_error("look at", &path))?;
            // What is mounted here is somebody's: it is known by its mount point and not walked.
            let enter = stat.is_some_and(|s| s.kind == Kind::Dir && s.device == walk.device);
            if enter && !walk.mounts.contains(&path) {
                self.collect(&path, &relative, walk, depth + 1, entries)?;
            }
        }
        Ok(())
    }

    /// Removes what was not there before, then the directories that were made if nothing is left in them.
    pub(super) fn sweep(&self, path: &str, prior: &Prior) -> Result<Vec<Residue>, HostError> {
        let Prior::Dirs { missing, entries } = prior else {
            return Ok(Vec::new());
        };
        let mut left = Vec::new();
        let stat = self.0.stat(path).map_err(io_error("look at", path))?;
        if let Some(stat) = stat.filter(|stat| stat.kind == Kind::Dir) {
            let known = entries.iter().map(String::as_str).collect();
            let walk = Walk {
                device: stat.device,
                known,
                mounts: self.mounts()?,
            };
            self.sweep_dir(path, "", &walk, 0, &mut left)?;
        }
        if left.is_empty() {
            left = self.remove_made_dirs(
                path,
                &Prior::Dirs {
                    missing: missing.clone(),
                    entries: Vec::new(),
                },
            )?;
        }
        Ok(left)
    }

    fn sweep_dir(
        &self,
        dir: &str,
        relative: &str,
        walk: &Walk<'_>,
        depth: usize,
        left: &mut Vec<Residue>,
    ) -> Result<(), HostError> {
        if depth >= MAX_DEPTH {
            return Err(HostError::TooManyEntries {
                path: dir.into(),
                limit: MAX_ENTRIES,
            });
        }
        for name in self.0.list(dir).map_err(io_error("list", dir))? {
            let path = format!("{dir}/{name}");
            let relative = join(relative, &name);
            let was_there = walk.known.contains(relative.as_str());
            let Some(stat) = self.0.stat(&path).map_err(io_error("look at", &path))? else {
                continue;
            };
            if stat.kind != Kind::Dir {
                if !was_there {
                    self.remove_if_there(&path)?;
                }
                continue;
            }
            if stat.device != walk.device || walk.mounts.contains(&path) {
                if !was_there {
                    left.push(live_mount(&path));
                }
                continue;
            }
            let before = left.len();
            self.sweep_dir(&path, &relative, walk, depth + 1, left)?;
            if !was_there && left.len() == before {
                self.remove_dir_if_there(&path, left)?;
            }
        }
        Ok(())
    }

    pub(super) fn remove_dir_if_there(
        &self,
        path: &str,
        left: &mut Vec<Residue>,
    ) -> Result<(), HostError> {
        match self.0.remove_dir(path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            // A mount of the same file system (a bind mount) shows itself only here.
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                left.push(live_mount(path));
                Ok(())
            }
            Err(error) => Err(io_error("remove directory", path)(error)),
        }
    }

    /// Removes whatever is in a directory, never at or below a live mount; names what stays.
    pub(super) fn sweep_all(&self, path: &str) -> Result<Vec<Residue>, HostError> {
        let mut left = Vec::new();
        let walk = Walk {
            device: self.device(path)?,
            known: BTreeSet::new(),
            mounts: self.mounts()?,
        };
        self.sweep_dir(path, "", &walk, 0, &mut left)?;
        Ok(left)
    }

    /// Removes a directory if nothing is in it.
    pub(super) fn remove_if_empty(&self, path: &str) -> Result<(), HostError> {
        match self.0.remove_dir(path) {
            Err(error)
                if !matches!(
                    error.kind(),
                    io::ErrorKind::NotFound
                        | io::ErrorKind::NotADirectory
                        | io::ErrorKind::DirectoryNotEmpty
                ) =>
            {
                Err(io_error("remove directory", path)(error))
            }
            _ => Ok(()),
        }
    }
}

fn join(relative: &str, name: &str) -> String {
    if relative.is_empty() {
        name.to_owned()
    } else {
        format!("{relative}/{name}")
    }
}

fn live_mount(path: &str) -> Residue {
    Residue {
        what: format!("mount at {path}"),
        why: "something is still mounted there, and nothing is removed below a live mount".into(),
        remedy: format!("umount {path}, then run the reset again"),
    }
}
