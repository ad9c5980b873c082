//! Machines on the way: one connection to each, shared by all that lie behind it, and gone with the last of them.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use futures::future::{BoxFuture, FutureExt, Shared, WeakShared};
use parking_lot::Mutex;

use super::Inner;
use super::connection::{self, Connection};
use crate::{MachineError, SshTarget};

type Opened = Result<Arc<Connection>, MachineError>;
type Opening = BoxFuture<'static, Opened>;

/// The jump hosts that are open, or being opened.
#[derive(Default)]
pub(super) struct Jumps {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    slots: HashMap<Key, Slot>,
    /// Which jump host is reached through which, as far as it was seen: nobody may wait for himself.
    ways: HashMap<Key, Key>,
}

impl Table {
    /// Notes that `behind` is reached through `jump`; not so when that would be a circle.
    fn note(&mut self, behind: &Key, jump: &Key) -> bool {
        let mut next = Some(jump);
        while let Some(key) = next {
            if key == behind {
                return false;
            }
            next = self.ways.get(key);
        }
        self.ways.insert(behind.clone(), jump.clone());
        true
    }
}

/// How the jump host is written, the way to it, and what is said of all on the way.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    jump: String,
    before: Vec<String>,
    identity_files: Vec<PathBuf>,
    options: Vec<(String, String)>,
}

impl Key {
    /// The last machine on the way to a target.
    pub(super) fn new(jump: &str, before: &[String], behind: &SshTarget) -> Self {
        Self {
            jump: jump.to_owned(),
            before: before.to_vec(),
            identity_files: behind.jump_identity_files.clone(),
            options: behind.jump_options.clone(),
        }
    }
}

enum Slot {
    /// Somebody waits for it. When nobody does any more, it is given up.
    Opening(WeakShared<Opening>),
    Open(Weak<Connection>),
}

impl Jumps {
    /// A connection to a jump host: the one that is there, or a new one.
    ///
    /// # Errors
    /// Why it cannot be passed. All who wait for it get the same answer; who comes later tries again.
    pub(super) async fn pass(&self, client: &Arc<Inner>, key: Key, behind: Option<&Key>) -> Opened {
        let jump = key.jump.clone();
        let unusable = |detail: String| MachineError::SettingsUnusable {
            host: jump.clone(),
            detail,
        };
        let opening = {
            let mut table = self.table.lock();
            if behind.is_some_and(|behind| !table.note(behind, &key)) {
                return Err(unusable("ProxyJump leads in a circle".to_owned()));
            }
            table.slots.retain(|_, slot| slot.is_alive());
            match table.slots.get(&key).and_then(Slot::current) {
                Some(Current::Open(connection)) => return Ok(connection),
                Some(Current::Opening(opening)) => opening,
                None => {
                    let target = target(&key).map_err(unusable)?;
                    let opening =
                        connection::open(Arc::clone(client), target, Some(key.clone())).shared();
                    if let Some(weak) = opening.downgrade() {
                        table.slots.insert(key.clone(), Slot::Opening(weak));
                    }
                    opening
                }
            }
        };
        let opened = opening.clone().await;
        let mut table = self.table.lock();
        let is_ours = |slot: &Slot| matches!(slot, Slot::Opening(weak) if weak.upgrade().is_some_and(|other| other.ptr_eq(&opening)));
        if table.slots.get(&key).is_some_and(is_ours) {
            match &opened {
                Ok(connection) => table
                    .slots
                    .insert(key, Slot::Open(Arc::downgrade(connection))),
                Err(_) => table.slots.remove(&key),
            };
        }
        drop(table);
        opened.map_err(|error| match error {
            inner @ MachineError::JumpFailed { .. } => inner,
            other => MachineError::JumpFailed {
                jump,
                source: Arc::new(other),
            },
        })
    }

    /// How many are open or being opened.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        let mut table = self.table.lock();
        table.slots.retain(|_, slot| slot.is_alive());
        table.slots.len()
    }
}

enum Current {
    Open(Arc<Connection>),
    Opening(Shared<Opening>),
}

impl Slot {
    fn current(&self) -> Option<Current> {
        match self {
            Self::Opening(weak) => weak.upgrade().map(Current::Opening),
            Self::Open(weak) => {
                let connection = weak.upgrade().filter(|connection| !connection.is_closed());
                connection.map(Current::Open)
            }
        }
    }

    fn is_alive(&self) -> bool {
        self.current().is_some()
    }
}

/// Reads `[user@]host[:port]` or `ssh://[user@]host[:port]`; the machines before it are its own way.
fn target(key: &Key) -> Result<SshTarget, String> {
    let jump = key.jump.as_str();
    let text = jump
        .strip_prefix("ssh://")
        .unwrap_or(jump)
        .trim_end_matches('/');
    let (user, place) = match text.rsplit_once('@') {
        Some((user, place)) => (Some(user.to_owned()), place),
        None => (None, text),
    };
    let bracketed = place
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'));
    let (host, port) = match bracketed {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        // More than one colon is an address without a port.
        None => match place.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') => (host, Some(port)),
            _ => (place, None),
        },
    };
    let port = port
        .map(|port| {
            port.parse()
                .map_err(|_| format!("{port:?} in ProxyJump {jump:?} is no port"))
        })
        .transpose()?;
    if host.is_empty() {
        return Err(format!("ProxyJump {jump:?} names no machine"));
    }
    Ok(SshTarget {
        user,
        port,
        jump: (!key.before.is_empty()).then(|| key.before.join(",")),
        identity_files: key.identity_files.clone(),
        options: key.options.clone(),
        jump_identity_files: key.identity_files.clone(),
        jump_options: key.options.clone(),
        ..SshTarget::new(host)
    })
}

impl fmt::Debug for Jumps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jumps").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jump_hosts_are_read_as_ssh_reads_them() {
        let target =
            |text: &str, before: &[String]| target(&Key::new(text, before, &SshTarget::default()));
        let read = |text: &str| {
            let target = target(text, &[]).unwrap();
            (target.user, target.host, target.port)
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(read("gate"), (None, "gate".to_owned(), None));
        assert_eq!(
            read("ada@gate:2222"),
            (some("ada"), "gate".to_owned(), Some(2222))
        );
        assert_eq!(
            read("ssh://ada@gate:22/"),
            (some("ada"), "gate".to_owned(), Some(22))
        );
        assert_eq!(
            read("[fd00::1]:2222"),
            (None, "fd00::1".to_owned(), Some(2222))
        );
        assert_eq!(read("fd00::1"), (None, "fd00::1".to_owned(), None));
        let before = ["one".to_owned(), "two".to_owned()];
        assert_eq!(target("three", &before).unwrap().jump, some("one,two"));
        assert!(target("ada@", &[]).is_err());
        assert!(target("gate:x", &[]).is_err());
    }
}
