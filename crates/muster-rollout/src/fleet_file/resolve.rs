//! From what is written to what follows for each host.
//!
//! Everything that is wrong is gathered before it is said. It refuses to know files: relative paths are those of the
//! directory that it is given.

use super::cluster::{ClusterAccess, MintOn};
use super::complete::{Ambient, Completion};
use super::fleet::{Fleet, Group, HostSpec};
use super::run::{CertificateKey, Readiness};
use super::written::{FleetConfiguration, HostEntry, MintOnEntry, Settings};
use crate::document::{At, Faults, FileError, Position, listed, nearest};
use crate::range::{MAX_HOSTS, Pattern};
use muster_identity::{CaPin, Endpoint, NodeName};
use std::collections::HashMap;

impl FleetConfiguration {
    /// What follows from it.
    ///
    /// # Errors
    /// [`FileError`] with all that is wrong, in the order of the file.
    pub fn resolve(&self, ambient: &Ambient<'_>) -> Result<Fleet, FileError> {
        let mut faults = Faults::default();
        let mut resolution = Resolution {
            file: self,
            completion: Completion::new(ambient),
            faults: &mut faults,
            hosts: Vec::new(),
            names: HashMap::new(),
            places: HashMap::new(),
        };
        let name = resolution.name(ambient);
        let cluster = resolution.cluster();
        let groups = resolution.groups();
        resolution.hosts();
        let count = u32::try_from(resolution.hosts.len()).unwrap_or(u32::MAX);
        let fleet = Fleet {
            name,
            cluster,
            groups,
            policy: resolution.policy(count),
            concurrency: resolution.concurrency(count),
            timeouts: resolution.timeouts(),
            token: resolution.token(),
            readiness: Readiness {
                until: self.readiness.until.unwrap_or_default(),
                serving_certificate: self.readiness.serving_certificate.unwrap_or_default(),
                probe_pod: self
                    .readiness
                    .probe_pod
                    .as_ref()
                    .map(|pod| pod.image.clone()),
            },
            jumps: std::mem::take(&mut resolution.completion.jumps),
            hosts: std::mem::take(&mut resolution.hosts),
        };
        faults.end(fleet)
    }
}

pub(super) struct Resolution<'a> {
    pub(super) file: &'a FleetConfiguration,
    completion: Completion<'a>,
    pub(super) faults: &'a mut Faults,
    hosts: Vec<HostSpec>,
    names: HashMap<NodeName, Position>,
    /// Which host is at which place: address, port, way and root directory.
    places: HashMap<String, NodeName>,
}

impl Resolution<'_> {
    fn name(&mut self, ambient: &Ambient<'_>) -> String {
        let Some(name) = &self.file.metadata.name else {
            return ambient.name.to_owned();
        };
        let fits = name.value.len() <= 63
            && !name.value.contains('.')
            && NodeName::parse(&name.value).is_ok_and(|parsed| parsed.as_str() == name.value);
        if !fits {
            self.faults.push(
                name.position,
                "metadata.name",
                format!("{:?} is no name for a fleet", name.value),
                "use at most 63 lower-case letters, digits and -, with a letter or digit at both ends",
            );
        }
        name.value.clone()
    }

    fn cluster(&mut self) -> ClusterAccess {
        let written = &self.file.cluster;
        let endpoint = written.endpoint.as_ref().and_then(|text| {
            Endpoint::parse(&text.value)
                .map_err(|error| {
                    let cure = "write HOST:PORT, such as 10.0.0.10:6443";
                    self.faults
                        .push(text.position, "cluster.endpoint", error.to_string(), cure);
                })
                .ok()
        });
        let mut pins = Vec::new();
        for text in &written.ca_cert_hashes {
            match CaPin::parse(&text.value) {
                Ok(pin) => pins.push(pin),
                Err(error) => self.faults.push(
                    text.position,
                    "cluster.caCertHashes",
                    error.to_string(),
                    "copy it from `kubeadm token create --print-join-command`",
                ),
            }
        }
        ClusterAccess {
            kubeconfig: written
                .kubeconfig
                .as_ref()
                .map(|path| self.completion.path(path)),
            context: written.context.clone(),
            mint_on: written
                .mint_on
                .as_ref()
                .and_then(|machine| self.mint_on(machine)),
            endpoint,
            pins,
            certificate_key: match &written.certificate_key {
                Some(CertificateKey::Known(source)) => {
                    CertificateKey::Known(self.completion.secret(source))
                }
                Some(CertificateKey::Upload) | None => CertificateKey::Upload,
            },
        }
    }

    fn mint_on(&mut self, machine: &At<MintOnEntry>) -> Option<MintOn> {
        let entry = &machine.value;
        let settings = Settings {
            ssh: entry.ssh.clone(),
            local: entry.local,
            namespace: entry.namespace.clone(),
            sudo: entry.sudo.clone(),
            ..Settings::default()
        };
        let connects = entry.ssh.is_some() || entry.namespace.is_some() || entry.local.is_some();
        let at = if connects {
            self.file.defaults.with(&settings)
        } else {
            settings
        };
        let completed = self.completion.settings(
            &at,
            Vec::new(),
            machine.position,
            "cluster.mintOn",
            self.faults,
        )?;
        let address = match (&at.ssh, &at.namespace) {
            (_, Some(namespace)) => Some(namespace.value.clone()),
            (Some(ssh), None) => ssh.address.as_ref().map(|address| address.value.clone()),
            (None, None) => None,
        };
        let is_local = at.local.is_some_and(|local| local.value);
        if address.is_none() && !is_local {
            self.faults.push(
                machine.position,
                "cluster.mintOn",
                "nothing says which machine it is",
                "add ssh: {address: HOST}, namespace: NAME or local: true",
            );
            return None;
        }
        let named = address
            .as_deref()
            .and_then(|address| NodeName::parse(address).ok());
        Some(MintOn {
            host: HostSpec {
                name: named.or_else(|| NodeName::parse("control-plane").ok())?,
                address: address.map(String::into_boxed_str),
                node_ip: None,
                settings: completed,
            },
            kubeadm: entry.kubeadm.clone(),
            kubeconfig: entry.kubeconfig.clone(),
        })
    }

    fn groups(&mut self) -> Vec<Group> {
        let all = self.file.concurrency.per_group;
        let mut groups: Vec<Group> = Vec::new();
        for (name, group) in &self.file.groups.0 {
            if name.value.is_empty() || name.value.len() > 253 {
                self.faults.push(
                    name.position,
                    "groups",
                    "a group's name has between 1 and 253 characters",
                    "give it another name",
                );
            }
            groups.push(Group {
                name: name.value.clone(),
                limit: group.concurrency.or(all).map(|limit| limit.0),
            });
        }
        groups
    }

    fn hosts(&mut self) {
        let file = self.file;
        let groups: Vec<Settings> = file.groups.0.iter().map(|(_, g)| g.settings()).collect();
        // Most hosts are of the same groups; what these say together is put together once.
        let mut bases: HashMap<Vec<u32>, Settings> = HashMap::new();
        for (index, entry) in file.hosts.iter().enumerate() {
            let members = self.members(&entry.value, index);
            let base = bases.entry(members.clone()).or_insert_with(|| {
                members
                    .iter()
                    .fold(file.defaults.settings(), |above, group| {
                        above.with(&groups[*group as usize])
                    })
            });
            let settings = base.with(&entry.value.settings());
            self.entry(entry, index, &settings, members);
        }
        if self.hosts.is_empty() && file.hosts.is_empty() {
            self.faults.push(
                Position::default(),
                "hosts",
                "there are no hosts",
                "add hosts: [{name: NAME}], or give an inventory",
            );
        }
    }

    /// The positions of a host's groups, in the order of its list.
    fn members(&mut self, entry: &HostEntry, index: usize) -> Vec<u32> {
        let known: Vec<&str> = self
            .file
            .groups
            .0
            .iter()
            .map(|(name, _)| name.value.as_str())
            .collect();
        let mut members = Vec::new();
        for group in entry.groups.iter().flatten() {
            let found = known.iter().position(|name| *name == group.value);
            match found.and_then(|at| u32::try_from(at).ok()) {
                Some(at) if !members.contains(&at) => members.push(at),
                Some(_) => {}
                None => {
                    let cure = match nearest(&group.value, &known) {
                        Some(near) => format!("did you mean {near}?"),
                        None if known.is_empty() => "define it under groups:".to_owned(),
                        None => format!("there are {}", listed(&known)),
                    };
                    self.faults.push(
                        group.position,
                        format!("hosts[{index}].groups"),
                        format!("there is no group {}", group.value),
                        cure,
                    );
                }
            }
        }
        members
    }

    fn entry(
        &mut self,
        entry: &At<HostEntry>,
        index: usize,
        settings: &Settings,
        members: Vec<u32>,
    ) {
        let field = format!("hosts[{index}]");
        let Some(names) = self.pattern(&entry.value.name, &format!("{field}.name")) else {
            return;
        };
        if self.hosts.len() + names.count() > MAX_HOSTS {
            self.faults.push(
                entry.position,
                field,
                format!("there are more than {MAX_HOSTS} hosts"),
                "make several fleets of them",
            );
            return;
        }
        let shared =
            self.completion
                .settings(settings, members, entry.position, &field, self.faults);
        let Some(shared) = shared else { return };
        let address = super::complete::address_of(settings);
        let address_field = super::complete::address_field(settings);
        let node_ip = settings
            .join
            .as_ref()
            .and_then(|join| join.0.node_ip.as_ref());
        let (Ok(addresses), Ok(node_ips)) = (
            self.zipped(address, &names, &field, address_field),
            self.zipped(node_ip, &names, &field, "join.nodeIP"),
        ) else {
            return;
        };
        for number in 0..names.count() {
            let Some(name) = self.host_name(&entry.value.name, &names.nth(number), &field) else {
                return;
            };
            let nth = |pattern: &Option<Pattern>| {
                let text = pattern
                    .as_ref()?
                    .nth(number)
                    .replace("{name}", name.as_str());
                Some(text.into_boxed_str())
            };
            let host = HostSpec {
                address: nth(&addresses).filter(|address| **address != *name.as_str()),
                node_ip: nth(&node_ips),
                settings: shared.clone(),
                name,
            };
            if !self.host(host, entry, &field) {
                return;
            }
        }
    }

    fn pattern(&mut self, text: &At<String>, field: &str) -> Option<Pattern> {
        Pattern::parse(&text.value)
            .map_err(|error| {
                self.faults
                    .push(text.position, field, error.to_string(), error.cure());
            })
            .ok()
    }

    /// A text that goes along with the names: one for all, or as many as there are names.
    fn zipped(
        &mut self,
        text: Option<&At<String>>,
        names: &Pattern,
        field: &str,
        what: &str,
    ) -> Result<Option<Pattern>, ()> {
        let Some(text) = text else { return Ok(None) };
        let field = format!("{field}.{what}");
        let pattern = self.pattern(text, &field).ok_or(())?;
        if pattern.has_range() && pattern.count() != names.count() {
            self.faults.push(
                text.position,
                field,
                format!(
                    "it stands for {} and the name for {}; they go along with each other one by one",
                    pattern.count(),
                    names.count()
                ),
                "give both ranges the same length, or write {name} for the host's name",
            );
            return Err(());
        }
        Ok(Some(pattern))
    }

    fn host_name(&mut self, written: &At<String>, text: &str, field: &str) -> Option<NodeName> {
        NodeName::parse(text)
            .map_err(|error| {
                self.faults.push(
                    written.position,
                    format!("{field}.name"),
                    error.to_string(),
                    "use lower-case letters, digits, - and ., such as worker-01; ranges are written [01:20]",
                );
            })
            .ok()
    }

    /// Takes a host in. `false`: something is wrong, and it would be with the next ones too.
    fn host(&mut self, host: HostSpec, entry: &At<HostEntry>, field: &str) -> bool {
        let written = &entry.value.name;
        if let Some(before) = self.names.insert(host.name.clone(), written.position) {
            let place = match before.line {
                0 => "before".to_owned(),
                line => format!("in line {line}"),
            };
            self.faults.push(
                written.position,
                format!("{field}.name"),
                format!("{} stands there already, {place}", host.name),
                "give every host a name of its own",
            );
            return false;
        }
        if let Err((what, cure)) = super::complete::check_place(&host) {
            self.faults.push(entry.position, field, what, cure);
            return false;
        }
        if let Some(place) = super::complete::place_of(&host)
            && let Some(other) = self.places.insert(place, host.name.clone())
        {
            self.faults.push(
                entry.position,
                field,
                format!("{} is at the same place as {other}", host.name),
                "give each an address, a port, or with muster a root of its own; ranges go along one by one",
            );
            return false;
        }
        self.hosts.push(host);
        true
    }
}
