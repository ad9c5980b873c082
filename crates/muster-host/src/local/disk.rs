//! The real file tree below a root directory. Every operation is durable when it returns.

use std::collections::BTreeSet;
use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::Path;
use std::time::{Duration, SystemTime};

use muster_plan::paths::Root;
use rustix::fs::XattrFlags;

use crate::disk::{Disk, Kind, Stat, parent};
use crate::prior::Attributes;

/// The kernel's own limit for an attribute and for the list of names (XATTR_SIZE_MAX).
const LARGEST_ATTRIBUTE: usize = 65_536;

/// The real file tree.
pub(crate) struct RealDisk {
    root: Root,
}

impl RealDisk {
    pub(crate) fn new(root: Root) -> Self {
        Self { root }
    }

    fn real(&self, path: &str) -> String {
        self.root.real(path)
    }

    /// A name is durable only when its directory is.
    fn sync_parent(&self, path: &str) -> io::Result<()> {
        let dir = self.real(parent(path));
        File::open(if dir.is_empty() { "/" } else { &dir })?.sync_all()
    }
}

impl Disk for RealDisk {
    fn stat(&self, path: &str) -> io::Result<Option<Stat>> {
        let metadata = match fs::symlink_metadata(self.real(path)) {
            Ok(metadata) => metadata,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let kind = match metadata.file_type() {
            kind if kind.is_file() => Kind::File,
            kind if kind.is_dir() => Kind::Dir,
            kind if kind.is_symlink() => Kind::Link,
            _ => Kind::Other,
        };
        let attributes = Attributes {
            mode: metadata.mode() & 0o7777,
            uid: metadata.uid(),
            gid: metadata.gid(),
            modified: metadata.mtime(),
            modified_nanos: u32::try_from(metadata.mtime_nsec()).unwrap_or(0),
        };
        Ok(Some(Stat {
            kind,
            attributes,
            device: metadata.dev(),
        }))
    }

    fn read(&self, path: &str, limit: usize) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        let bound = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        File::open(self.real(path))?
            .take(bound)
            .read_to_end(&mut content)?;
        if content.len() > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(content)
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let mut names = fs::read_dir(self.real(path))?
            .map(|entry| {
                entry?.file_name().into_string().map_err(|name| {
                    io::Error::new(
                        io::ErrorKind::InvalidFilename,
                        format!("{name:?} is not UTF-8"),
                    )
                })
            })
            .collect::<io::Result<Vec<_>>>()?;
        names.sort();
        Ok(names)
    }

    fn link_target(&self, path: &str) -> io::Result<String> {
        fs::read_link(self.real(path))?
            .into_os_string()
            .into_string()
            .map_err(|target| {
                io::Error::new(
                    io::ErrorKind::InvalidFilename,
                    format!("{target:?} is not UTF-8"),
                )
            })
    }

    fn create(&self, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        // Closed while it is written; widened at the end if it may be, and never the other way round.
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode & 0o700)
            .open(self.real(path))?;
        file.write_all(content)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.sync_all()?;
        self.sync_parent(path)
    }

    fn link(&self, path: &str, target: &str) -> io::Result<()> {
        std::os::unix::fs::symlink(target, self.real(path))?;
        self.sync_parent(path)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.real(from), self.real(to))?;
        self.sync_parent(to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.real(path))?;
        self.sync_parent(path)
    }

    fn make_dir(&self, path: &str, mode: u32) -> io::Result<()> {
        fs::DirBuilder::new().mode(mode).create(self.real(path))?;
        self.set_mode(path, mode)?;
        self.sync_parent(path)
    }

    fn remove_dir(&self, path: &str) -> io::Result<()> {
        fs::remove_dir(self.real(path))?;
        self.sync_parent(path)
    }

    fn set_attributes(&self, path: &str, attributes: &Attributes) -> io::Result<()> {
        let real = self.real(path);
        let now = fs::symlink_metadata(&real)?;
        if (now.uid(), now.gid()) != (attributes.uid, attributes.gid) {
            std::os::unix::fs::lchown(&real, Some(attributes.uid), Some(attributes.gid))?;
        }
        let file = File::open(&real)?;
        file.set_permissions(fs::Permissions::from_mode(attributes.mode))?;
        file.set_times(FileTimes::new().set_modified(time(attributes)))?;
        file.sync_all()
    }

    fn copy_extended(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (self.real(from), self.real(to));
        for name in extended_names(&from)? {
            let mut value = vec![0; LARGEST_ATTRIBUTE];
            let Ok(length) = rustix::fs::lgetxattr(&from, &name, &mut value[..]) else {
                continue;
            };
            let set = rustix::fs::lsetxattr(&to, &name, &value[..length], XattrFlags::empty());
            if let Err(error) = set {
                tracing::debug!(name = %String::from_utf8_lossy(&name), %error, "not carried over");
            }
        }
        Ok(())
    }

    fn set_mode(&self, path: &str, mode: u32) -> io::Result<()> {
        fs::set_permissions(self.real(path), fs::Permissions::from_mode(mode))
    }

    fn unmount(&self, path: &str) -> io::Result<()> {
        use rustix::mount::{UnmountFlags, unmount};
        Ok(unmount(self.real(path), UnmountFlags::NOFOLLOW)?)
    }

    fn mount_points(&self) -> io::Result<BTreeSet<String>> {
        let table = fs::read_to_string("/proc/self/mountinfo")?;
        let root = fs::canonicalize(self.root.dir())?;
        Ok(mounts_below(&table, &root))
    }
}

/// The names of a file's extended attributes; none where the file system has none.
fn extended_names(path: &str) -> io::Result<Vec<Vec<u8>>> {
    let mut names = vec![0; LARGEST_ATTRIBUTE];
    let length = match rustix::fs::llistxattr(path, &mut names[..]) {
        Ok(length) => length,
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let names = names[..length].split(|byte| *byte == 0);
    Ok(names
        .filter(|name| !name.is_empty())
        .map(<[u8]>::to_vec)
        .collect())
}

fn time(attributes: &Attributes) -> SystemTime {
    let whole = Duration::from_secs(attributes.modified.unsigned_abs());
    let nanos = Duration::from_nanos(attributes.modified_nanos.into());
    if attributes.modified < 0 {
        return SystemTime::UNIX_EPOCH - whole + nanos;
    }
    SystemTime::UNIX_EPOCH + whole + nanos
}

/// Field 5 of each line of `/proc/self/mountinfo` (proc(5)), as paths below `root`. Spaces and the like are written
/// there as three octal digits.
pub(crate) fn mounts_below(table: &str, root: &Path) -> BTreeSet<String> {
    table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(unescape)
        .filter_map(|path| {
            let below = Path::new(&path)
                .strip_prefix(root)
                .ok()?
                .to_str()?
                .to_owned();
            (!below.is_empty()).then(|| format!("/{below}"))
        })
        .collect()
}

pub(super) fn unescape(field: &str) -> String {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let [first, tail @ ..] = rest {
        let octal = match tail {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] if *first == b'\\' => {
                Some((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'))
            }
            _ => None,
        };
        bytes.push(octal.unwrap_or(*first));
        rest = if octal.is_some() { &tail[3..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_told_below_the_root_with_their_escapes_undone() {
        let table = "22 1 0:21 / /proc rw - proc proc rw\n\
            30 1 8:1 /x /tmp/n1/var/lib/kubelet/pods/a\\040b/v rw - ext4 /dev/sda1 rw\n\
            31 1 8:1 / /tmp/n1 rw - ext4 /dev/sda1 rw\n\
            32 1 8:1 / /tmp/n10/x rw - ext4 /dev/sda1 rw\n";
        let below: Vec<String> = mounts_below(table, Path::new("/tmp/n1"))
            .into_iter()
            .collect();
        assert_eq!(below, ["/var/lib/kubelet/pods/a b/v"]);
        assert!(mounts_below(table, Path::new("/")).contains("/proc"));
    }

    #[test]
    fn times_before_1970_come_back_too() {
        let attributes = Attributes {
            mode: 0,
            uid: 0,
            gid: 0,
            modified: -2,
            modified_nanos: 500_000_000,
        };
        let expected = SystemTime::UNIX_EPOCH - Duration::from_millis(1500);
        assert_eq!(time(&attributes), expected);
    }
}
