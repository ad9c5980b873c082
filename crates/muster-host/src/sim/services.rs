//! Simulated services and supervised processes. A kubelet that is started writes what a kubelet writes.

use std::sync::Arc;

use async_trait::async_trait;
use muster_plan::{UnitFact, paths};

use super::{Entry, Inside};
use crate::HostError;
use crate::pods::Pods;
use crate::process::{Processes, Spawn, Supervised};
use crate::services::Services;

/// Simulated services and processes.
pub(crate) struct SimServices(pub(super) Arc<Inside>);

impl SimServices {
    fn operation(&self) -> Result<(), HostError> {
        self.0.operation().map_err(|_| HostError::PowerLost)
    }

    fn change(&self, unit: &str, change: impl FnOnce(&mut UnitFact)) -> Result<(), HostError> {
        self.operation()?;
        let mut world = self.0.world.lock();
        match world.units.get_mut(unit) {
            Some(fact) => change(fact),
            None => {
                return Err(HostError::Command {
                    command: format!("systemctl … {unit}"),
                    status: "exit status: 5".into(),
                    output: format!("Unit {unit} not found."),
                });
            }
        }
        Ok(())
    }

    fn kubelet_starts(&self) {
        let pod = self.0.faults.lock().pod.clone();
        if let Some((id, volume)) = pod {
            let mut world = self.0.world.lock();
            world.pods.insert(id);
            let mut dir = volume.as_str();
            while !world.tree.contains_key(dir) && dir != "/" {
                world
                    .tree
                    .insert(dir.to_owned(), Entry::Dir { mode: 0o755 });
                dir = crate::disk::parent(dir);
            }
            self.0.faults.lock().mounts.insert(volume);
        }
        if let Some(effect) = &*self.0.on_kubelet.lock() {
            effect(&mut self.0.world.lock().tree);
        }
    }
}

#[async_trait]
impl Services for SimServices {
    async fn state(&self, unit: &str) -> Result<UnitFact, HostError> {
        Ok(self
            .0
            .world
            .lock()
            .units
            .get(unit)
            .copied()
            .unwrap_or_default())
    }

    async fn restarts(&self, _unit: &str) -> Result<u32, HostError> {
        Ok(u32::from(self.0.faults.lock().kubelet_ends) * 3)
    }

    async fn start(&self, unit: &str) -> Result<(), HostError> {
        if Services::state(self, unit).await?.active {
            return Ok(());
        }
        let stays = !self.0.faults.lock().kubelet_ends;
        self.change(unit, |fact| fact.active = stays)?;
        self.kubelet_starts();
        Ok(())
    }

    async fn stop(&self, unit: &str) -> Result<(), HostError> {
        if !Services::state(self, unit).await?.active {
            return Ok(());
        }
        self.change(unit, |fact| fact.active = false)
    }

    async fn set_enabled(&self, unit: &str, enabled: bool) -> Result<(), HostError> {
        let state = Services::state(self, unit).await?;
        if state.enabled == enabled || (!state.exists && !enabled) {
            return Ok(());
        }
        self.change(unit, |fact| fact.enabled = enabled)
    }

    /// Knows the units whose files lie in the unit directory, besides those it was made with.
    async fn reload(&self) -> Result<(), HostError> {
        self.operation()?;
        let mut world = self.0.world.lock();
        let unit = paths::MUSTER_KUBELET_UNIT;
        let path = format!("{}/{unit}", paths::UNIT_DIR);
        if matches!(world.tree.get(&path), Some(Entry::File { .. })) {
            world.units.entry(unit.to_owned()).or_default().exists = true;
        } else {
            world.units.remove(unit);
        }
        Ok(())
    }

    async fn log_tail(&self, unit: &str) -> String {
        format!("(the simulated log of {unit})")
    }
}

#[async_trait]
impl Pods for SimServices {
    async fn list(&self, _endpoint: &str) -> Result<Vec<String>, String> {
        Ok(self.0.world.lock().pods.iter().cloned().collect())
    }

    async fn remove(&self, _endpoint: &str, id: &str) -> Result<(), String> {
        let counted = self.0.operation();
        counted.map_err(|error| error.to_string())?;
        self.0.world.lock().pods.remove(id);
        Ok(())
    }
}

#[async_trait]
impl Processes for SimServices {
    async fn state(&self, pidfile: &str) -> Result<Supervised, HostError> {
        let running = self.0.world.lock().running.contains(pidfile);
        let ends = self.0.faults.lock().kubelet_ends;
        Ok(Supervised {
            supervisor: running,
            child: running && !ends,
            restarts: u32::from(ends) * 3,
        })
    }

    async fn spawn(&self, spawn: Spawn<'_>) -> Result<(), HostError> {
        if self.0.world.lock().running.contains(spawn.pidfile) {
            return Ok(());
        }
        self.operation()?;
        let attributes = crate::prior::Attributes {
            mode: 0o640,
            uid: 0,
            gid: 0,
            modified: 0,
            modified_nanos: 0,
        };
        let file = |content: &[u8]| Entry::File {
            content: content.to_vec(),
            attributes,
        };
        {
            let mut world = self.0.world.lock();
            world.running.insert(spawn.pidfile.to_owned());
            world
                .tree
                .insert(spawn.pidfile.to_owned(), file(b"42 1000\n"));
            world.tree.insert(spawn.log.to_owned(), file(b"started\n"));
        }
        self.kubelet_starts();
        Ok(())
    }

    async fn stop(&self, pidfile: &str) -> Result<(), HostError> {
        let known = {
            let world = self.0.world.lock();
            world.running.contains(pidfile) || world.tree.contains_key(pidfile)
        };
        if known {
            self.operation()?;
            let mut world = self.0.world.lock();
            world.running.remove(pidfile);
            world.tree.remove(pidfile);
        }
        Ok(())
    }

    async fn log_tail(&self, log: &str) -> String {
        format!("(the simulated log at {log})")
    }

    async fn healthz(&self, port: u16) -> Result<(), String> {
        let world = self.0.world.lock();
        let ends = self.0.faults.lock().kubelet_ends;
        let runs = !world.running.is_empty() || world.units.values().any(|fact| fact.active);
        if runs && !ends {
            Ok(())
        } else {
            Err(format!("its health port {port} does not answer"))
        }
    }
}
