//! What was there before a step: recorded in the journal before the deed, and what an undo brings back.
//!
//! It holds shapes and attributes, never contents: a file that a step replaces is copied into the backup directory.

use serde::{Deserialize, Serialize};

use crate::kernel::Swap;

/// What was there before a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "was", rename_all = "kebab-case")]
pub enum Prior {
    /// Nothing stood at the path.
    Absent,
    /// A file with these attributes; its content goes to the backup before it is replaced.
    File(Attributes),
    /// A symbolic link.
    Link {
        /// What it pointed at.
        target: String,
    },
    /// These directories were missing, outermost first; the rest of the path was there.
    Dirs {
        /// The missing ones.
        missing: Vec<String>,
        /// What the directory held, relative to it, if the step answers for its content.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        entries: Vec<String>,
    },
    /// A service.
    Service {
        /// Whether it ran, or was being started.
        active: bool,
        /// Whether it started with the machine.
        enabled: bool,
    },
    /// The pods of a container runtime, and what was mounted below the kubelet's directory.
    Pods {
        /// The ids of their sandboxes.
        ids: Vec<String>,
        /// The mount points.
        mounts: Vec<String>,
    },
    /// A supervised process.
    Process {
        /// Whether it ran.
        running: bool,
    },
    /// A kernel module.
    Module {
        /// Whether it was loaded or built in.
        loaded: bool,
    },
    /// A kernel setting.
    Setting {
        /// Its value; `None` when the kernel did not know it.
        value: Option<String>,
    },
    /// The swap in use.
    Swaps {
        /// The devices.
        devices: Vec<Swap>,
    },
    /// There is nothing to remember.
    Nothing,
}

/// What a restored file gets back besides its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// The permission bits.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The time of the last change: seconds since 1970.
    pub modified: i64,
    /// Its nanoseconds.
    pub modified_nanos: u32,
}
