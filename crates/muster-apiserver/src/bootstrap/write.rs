//! Files of the data directory, written so that a crash leaves the old file or the new one, and that a
//! secret is never readable by others, not for a moment.
//!
//! Refuses to know: what the files mean.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

/// Mode of files with a secret in them.
pub(super) const SECRET: u32 = 0o600;
/// Mode of certificates and other public files.
pub(super) const PUBLIC: u32 = 0o644;

/// Puts `bytes` at `path` under exactly this mode, replacing what is there.
pub(super) fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    };
    let fresh = parent.join(format!(".{}.new", name.to_string_lossy()));
    // What a crash left behind may have another mode: it is not written into.
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = write_new(&fresh, bytes, mode).and_then(|()| fs::rename(&fresh, path));
    if written.is_err() {
        // The first error is the one to tell; the leftover has the right mode and is removed next time.
        let _ = fs::remove_file(&fresh);
    }
    written?;
    File::open(parent)?.sync_all()
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    // The umask may have taken more away than was meant.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes a directory with this mode unless it is there; its parents with 0755.
pub(super) fn directory(path: &Path, mode: u32) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(parent)?;
    }
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("the file").permissions().mode() & 0o7777
    }

    #[test]
    fn a_replaced_file_has_the_new_content_and_mode() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("key");
        replace(&path, b"old", PUBLIC).expect("written");
        assert_eq!(mode(&path), PUBLIC);
        replace(&path, b"new", SECRET).expect("written");
        assert_eq!(
            (fs::read(&path).expect("read"), mode(&path)),
            (b"new".to_vec(), SECRET)
        );
        assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 1);
    }

    #[test]
    fn a_leftover_of_a_crash_is_not_written_into() {
        let dir = tempfile::tempdir().expect("a directory");
        let leftover = dir.path().join(".key.new");
        fs::write(&leftover, "half").expect("written");
        fs::set_permissions(&leftover, Permissions::from_mode(0o666)).expect("widened");
        let path = dir.path().join("key");
        replace(&path, b"whole", SECRET).expect("written");
        assert_eq!(
            (fs::read(&path).expect("read"), mode(&path)),
            (b"whole".to_vec(), SECRET)
        );
        assert!(!leftover.exists());
    }

    #[test]
    fn a_directory_is_made_once_and_left_alone_then() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a/b");
        directory(&path, 0o700).expect("made");
        assert_eq!(mode(&path), 0o700);
        directory(&path, 0o755).expect("there");
        assert_eq!(mode(&path), 0o700);
    }
}
