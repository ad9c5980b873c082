//! The simulated file tree: each operation is counted and may be the one at which the power goes.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use super::{Entry, Inside};
use crate::disk::{Disk, Kind, Stat, parent};
use crate::prior::Attributes;

/// The simulated file tree.
pub(crate) struct SimDisk(pub(super) Arc<Inside>);

impl SimDisk {
    fn operation(&self) -> io::Result<()> {
        self.0.operation().map_err(io::Error::other)
    }

    fn now(&self) -> i64 {
        self.0.faults.lock().clock
    }

    /// Follows links in every part but the last, as far as absolute links go.
    fn resolve(&self, path: &str) -> String {
        let world = self.0.world.lock();
        let mut resolved = String::new();
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        for (index, part) in parts.iter().enumerate() {
            resolved.push('/');
            resolved.push_str(part);
            if index + 1 < parts.len()
                && let Some(Entry::Link { target }) = world.tree.get(&resolved)
            {
                resolved = target.clone();
            }
        }
        resolved
    }

    fn new_entry(&self, path: &str, entry: Entry) -> io::Result<()> {
        let path = self.resolve(path);
        let mut world = self.0.world.lock();
        let dir = parent(&path);
        match world.tree.get(dir) {
            Some(Entry::Dir { .. }) => {}
            None if dir == "/" => {}
            Some(_) => return Err(io::ErrorKind::NotADirectory.into()),
            None => return Err(io::ErrorKind::NotFound.into()),
        }
        if world.tree.contains_key(&path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        world.tree.insert(path, entry);
        Ok(())
    }
}

impl Disk for SimDisk {
    fn stat(&self, path: &str) -> io::Result<Option<Stat>> {
        let path = self.resolve(path);
        let world = self.0.world.lock();
        let plain = |mode| Attributes {
            mode,
            uid: 0,
            gid: 0,
            modified: 0,
            modified_nanos: 0,
        };
        let (kind, attributes) = match world.tree.get(&path) {
            None => return Ok(None),
            Some(Entry::Dir { mode }) => (Kind::Dir, plain(*mode)),
            Some(Entry::File { attributes, .. }) => (Kind::File, *attributes),
            Some(Entry::Link { .. }) => (Kind::Link, plain(0o777)),
        };
        Ok(Some(Stat {
            kind,
            attributes,
            device: 1,
        }))
    }

    fn read(&self, path: &str, limit: usize) -> io::Result<Vec<u8>> {
        let mut path = self.resolve(path);
        for _ in 0..8 {
            let world = self.0.world.lock();
            match world.tree.get(&path) {
                Some(Entry::File { content, .. }) if content.len() <= limit => {
                    return Ok(content.clone());
                }
                Some(Entry::File { .. }) => return Err(io::ErrorKind::FileTooLarge.into()),
                Some(Entry::Link { target }) => path.clone_from(target),
                Some(Entry::Dir { .. }) => return Err(io::ErrorKind::IsADirectory.into()),
                None => return Err(io::ErrorKind::NotFound.into()),
            }
        }
        Err(io::Error::other("too many links"))
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let below = format!("{}/", self.resolve(path));
        let world = self.0.world.lock();
        let names = world
            .tree
            .keys()
            .filter_map(|entry| entry.strip_prefix(&below));
        Ok(names
            .filter(|name| !name.contains('/'))
            .map(str::to_owned)
            .collect())
    }

    fn link_target(&self, path: &str) -> io::Result<String> {
        let path = self.resolve(path);
        match self.0.world.lock().tree.get(&path) {
            Some(Entry::Link { target }) => Ok(target.clone()),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    fn create(&self, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        self.operation()?;
        let attributes = Attributes {
            mode: mode & 0o700,
            uid: 0,
            gid: 0,
            modified: self.now(),
            modified_nanos: 0,
        };
        let half = content[..content.len() / 2].to_vec();
        self.new_entry(
            path,
            Entry::File {
                content: half,
                attributes,
            },
        )?;
        // Between the two lies everything that a power cut can leave of a write.
        self.operation()?;
        let path = self.resolve(path);
        let attributes = Attributes { mode, ..attributes };
        let entry = Entry::File {
            content: content.to_vec(),
            attributes,
        };
        self.0.world.lock().tree.insert(path, entry);
        Ok(())
    }

    fn link(&self, path: &str, target: &str) -> io::Result<()> {
        self.operation()?;
        self.new_entry(
            path,
            Entry::Link {
                target: target.to_owned(),
            },
        )
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.operation()?;
        let (from, to) = (self.resolve(from), self.resolve(to));
        let mut world = self.0.world.lock();
        if matches!(world.tree.get(&to), Some(Entry::Dir { .. })) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let entry = world.tree.remove(&from).ok_or(io::ErrorKind::NotFound)?;
        world.tree.insert(to, entry);
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let path = self.resolve(path);
        match self.0.world.lock().tree.get(&path) {
            None => return Err(io::ErrorKind::NotFound.into()),
            Some(Entry::Dir { .. }) => return Err(io::ErrorKind::IsADirectory.into()),
            Some(_) => {}
        }
        self.operation()?;
        self.0.world.lock().tree.remove(&path);
        Ok(())
    }

    fn make_dir(&self, path: &str, mode: u32) -> io::Result<()> {
        self.operation()?;
        // Between making a directory and giving it its mode lies the umask.
        self.new_entry(path, Entry::Dir { mode: mode & 0o700 })?;
        self.set_mode(path, mode)
    }

    fn remove_dir(&self, path: &str) -> io::Result<()> {
        let path = self.resolve(path);
        match self.0.world.lock().tree.get(&path) {
            None => return Err(io::ErrorKind::NotFound.into()),
            Some(Entry::Dir { .. }) => {}
            Some(_) => return Err(io::ErrorKind::NotADirectory.into()),
        }
        if self.0.faults.lock().mounts.contains(&path) {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        if !self.list(&path)?.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        self.operation()?;
        self.0.world.lock().tree.remove(&path);
        Ok(())
    }

    fn set_attributes(&self, path: &str, wanted: &Attributes) -> io::Result<()> {
        self.operation()?;
        let path = self.resolve(path);
        match self.0.world.lock().tree.get_mut(&path) {
            Some(Entry::File { attributes, .. }) => {
                *attributes = *wanted;
                Ok(())
            }
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn copy_extended(&self, _from: &str, _to: &str) -> io::Result<()> {
        Ok(())
    }

    fn set_mode(&self, path: &str, wanted: u32) -> io::Result<()> {
        self.operation()?;
        let path = self.resolve(path);
        match self.0.world.lock().tree.get_mut(&path) {
            Some(Entry::Dir { mode }) => *mode = wanted,
            Some(Entry::File { attributes, .. }) => attributes.mode = wanted,
            _ => return Err(io::ErrorKind::NotFound.into()),
        }
        Ok(())
    }

    fn unmount(&self, path: &str) -> io::Result<()> {
        self.operation()?;
        let mut faults = self.0.faults.lock();
        if faults.busy.contains(path) {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        faults.mounts.remove(path);
        Ok(())
    }

    fn mount_points(&self) -> io::Result<BTreeSet<String>> {
        Ok(self.0.faults.lock().mounts.clone())
    }
}
