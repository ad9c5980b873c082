//! Where a fleet comes from: its file, an inventory, or the journal of a run; and where its journal is.

use crate::args::fleet::{State, Which};
use crate::exit::Failure;
use crate::printer::Printer;
use muster_fleet::rollout::{FleetDir, Source};
use muster_rollout::Fleet;
use muster_rollout::fleet_file::{Ambient, FleetConfiguration};
use muster_rollout::inventory::Inventory;
use std::path::{Path, PathBuf};

/// Largest file that is read, in bytes; the readers have limits of their own below it.
const LARGEST: u64 = 64 * 1024 * 1024;
/// Where a fleet's directory is for root.
const SYSTEM: &str = "/var/lib/muster-fleet";

/// A fleet, and what must be written down to have it again.
pub(crate) struct Loaded {
    /// The fleet.
    pub(crate) fleet: Fleet,
    /// Where from.
    pub(crate) source: Source,
}

/// Reads what was named.
pub(crate) fn load(which: &Which, printer: Printer) -> Result<Loaded, Failure> {
    let first = which
        .file
        .as_ref()
        .or(which.inventory.as_ref())
        .ok_or_else(|| {
            Failure::usage("no fleet was named")
                .cure("name its file: -f fleet.yaml; or an inventory: --inventory FILE")
        })?;
    let source = Source {
        path: first.display().to_string(),
        name: name_of(first),
        base: base_of(first)?,
        fleet_file: which.file.as_deref().map(read).transpose()?,
        inventory: which.inventory.as_deref().map(read).transpose()?,
        limit: which.limit.clone(),
    };
    let (fleet, notes) = resolve(&source)?;
    for note in notes {
        printer.note(format!("{}: {note}", source.path));
    }
    Ok(Loaded { fleet, source })
}

/// The fleet of a run that is in a journal.
pub(crate) fn of_journal(source: &Source) -> Result<Fleet, Failure> {
    resolve(source).map(|(fleet, _)| fleet)
}

fn resolve(source: &Source) -> Result<(Fleet, Vec<String>), Failure> {
    let wrong = |error: &dyn std::error::Error| {
        let mut failure = Failure::usage(format!("{} cannot be used", source.path));
        failure
            .causes
            .extend(error.to_string().lines().map(str::to_owned));
        failure
    };
    let mut configuration = match &source.fleet_file {
        Some(text) => FleetConfiguration::parse(text).map_err(|error| wrong(&error))?,
        None => FleetConfiguration::default(),
    };
    let mut notes = Vec::new();
    if let Some(text) = &source.inventory {
        let mut inventory = Inventory::parse(text).map_err(|error| wrong(&error))?;
        if !source.limit.is_empty() {
            inventory.limit_to(&source.limit).map_err(|unknown| {
                Failure::usage(format!(
                    "the inventory has neither a host nor a group {}",
                    unknown.join(", ")
                ))
            })?;
        }
        notes.extend(inventory.notes.iter().map(ToString::to_string));
        configuration = configuration.with_inventory(inventory);
    }
    let ambient = Ambient {
        name: &source.name,
        directory: &source.base,
    };
    let fleet = configuration
        .resolve(&ambient)
        .map_err(|error| wrong(&error))?;
    Ok((fleet, notes))
}

/// A fleet without a name of its own is called like its file, as far as that is a DNS-1123 label.
fn name_of(path: &Path) -> String {
    let stem = path
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    let label: String = stem
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(40)
        .collect();
    let label = label.trim_matches('-');
    if label.is_empty() {
        "fleet".to_owned()
    } else {
        label.to_owned()
    }
}

fn base_of(path: &Path) -> Result<String, Failure> {
    let absolute = std::path::absolute(path).map_err(|error| {
        Failure::usage(format!("{} cannot be used", path.display())).because(&error)
    })?;
    Ok(absolute
        .parent()
        .unwrap_or_else(|| Path::new("/"))
        .display()
        .to_string())
}

fn read(path: &Path) -> Result<String, Failure> {
    let unreadable = |error: &(dyn std::error::Error + 'static)| {
        Failure::usage(format!("{} cannot be read", path.display())).because(error)
    };
    let mut text = String::new();
    let taken = if path == Path::new("-") {
        std::io::Read::read_to_string(
            &mut std::io::Read::take(std::io::stdin(), LARGEST),
            &mut text,
        )
    } else {
        let file = std::fs::File::open(path).map_err(|error| unreadable(&error))?;
        std::io::Read::read_to_string(&mut std::io::Read::take(file, LARGEST), &mut text)
    };
    taken.map_err(|error| unreadable(&error))?;
    Ok(text)
}

/// The directory of a fleet's journal.
pub(crate) fn state_dir(state: &State, fleet: &str) -> Result<PathBuf, Failure> {
    if let Some(dir) = &state.state_dir {
        return Ok(dir.clone());
    }
    if rustix::process::geteuid().is_root() {
        return Ok(Path::new(SYSTEM).join(fleet));
    }
    let of_env = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let base = of_env("XDG_STATE_HOME").or_else(|| Some(of_env("HOME")?.join(".local/state")));
    let base = base.ok_or_else(|| {
        Failure::usage("there is no place for the fleet's journal")
            .cure("name one with --state-dir DIR")
    })?;
    Ok(base.join("muster/fleets").join(fleet))
}

/// The directory of a fleet whose journal must be there already: by --state-dir alone, or by the fleet's name.
pub(crate) fn found_state_dir(
    state: &State,
    which: &Which,
    printer: Printer,
) -> Result<PathBuf, Failure> {
    let dir = match &state.state_dir {
        Some(dir) => dir.clone(),
        None => state_dir(state, &load(which, printer)?.fleet.name)?,
    };
    if FleetDir::exists(&dir) {
        return Ok(dir);
    }
    let error = muster_fleet::rollout::RolloutError::NoRun;
    Err(super::failure(&error).cure(format!("looked in {}", dir.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_is_called_like_its_file() {
        for (path, name) in [
            ("east.yaml", "east"),
            ("/x/My Fleet_2.yml", "my-fleet-2"),
            ("...", "fleet"),
            ("-", "fleet"),
        ] {
            assert_eq!(name_of(Path::new(path)), name, "{path}");
        }
    }
}
