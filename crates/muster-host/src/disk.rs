//! The port to a file tree: elementary operations, each of which a power cut leaves done or not done.
//!
//! Paths are the node's own. An implementation makes every operation durable before it returns. Nothing here
//! follows a symbolic link in the last part of a path, except `read`.

use std::collections::BTreeSet;
use std::io;

use crate::prior::Attributes;

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Dir,
    Link,
    Other,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::File => "a file",
            Self::Dir => "a directory",
            Self::Link => "a symbolic link",
            Self::Other => "neither file nor directory",
        }
    }
}

/// What is known of a path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stat {
    pub(crate) kind: Kind,
    pub(crate) attributes: Attributes,
    /// The file system it lies in: a change on the way down is a mount point.
    pub(crate) device: u64,
}

/// A file tree.
pub(crate) trait Disk: Send + Sync + 'static {
    /// What stands there; `None` when nothing does.
    fn stat(&self, path: &str) -> io::Result<Option<Stat>>;
    /// The whole content of a file, at most `limit` bytes.
    fn read(&self, path: &str, limit: usize) -> io::Result<Vec<u8>>;
    /// The names in a directory, sorted.
    fn list(&self, path: &str) -> io::Result<Vec<String>>;
    /// What a link points at.
    fn link_target(&self, path: &str) -> io::Result<String>;
    /// Makes a new file; it has its mode from the first moment. Fails if something stands there.
    fn create(&self, path: &str, mode: u32, content: &[u8]) -> io::Result<()>;
    /// Makes a link. Fails if something stands there.
    fn link(&self, path: &str, target: &str) -> io::Result<()>;
    /// Moves a file or link, replacing what stands there, in one go.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file, link or socket.
    fn remove(&self, path: &str) -> io::Result<()>;
    /// Makes one directory with exactly this mode.
    fn make_dir(&self, path: &str, mode: u32) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_dir(&self, path: &str) -> io::Result<()>;
    /// Gives a file its owner, mode and time.
    fn set_attributes(&self, path: &str, attributes: &Attributes) -> io::Result<()>;
    /// Gives a file the extended attributes of another: access lists, labels, capabilities. What the file system or the
    /// kernel does not take is left out.
    fn copy_extended(&self, from: &str, to: &str) -> io::Result<()>;
    /// Sets the mode alone.
    fn set_mode(&self, path: &str, mode: u32) -> io::Result<()>;
    /// Unmounts what is mounted there, unless it is in use.
    fn unmount(&self, path: &str) -> io::Result<()>;
    /// Where something is mounted, as paths of the node.
    fn mount_points(&self) -> io::Result<BTreeSet<String>>;
}

/// The directory that holds `path`.
pub(crate) fn parent(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((parent, _)) => parent,
    }
}

/// Whether a path is absolute and plain: no empty, `.` or `..` parts, no NUL.
pub(crate) fn is_plain(path: &str) -> bool {
    path.strip_prefix('/').is_some_and(|rest| {
        rest.split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..")
            && !path.contains('\0')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_absolute_paths_are_plain() {
        for good in ["/a", "/a/b.c", "/..a/b"] {
            assert!(is_plain(good), "{good}");
        }
        for bad in ["", "a", "/", "/a//b", "/a/../b", "/a/.", "/a/", "/a\0b"] {
            assert!(!is_plain(bad), "{bad:?}");
        }
        assert_eq!(parent("/a/b"), "/a");
        assert_eq!(parent("/a"), "/");
    }
}
