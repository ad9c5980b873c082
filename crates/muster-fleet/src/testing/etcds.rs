//! Simulated etcds: members, votes, learners, and who of them runs. A member on a simulated machine runs while the
//! machine's kubelet does and its static pod says so; like a real one, it does not start on the data of another member.

use muster_host::sim::{Attributes, Entry, SimHost};
use muster_net::etcd::{Member, MemberHealth};

/// Where kubeadm has the manifest.
const MANIFEST: &str = "/etc/kubernetes/manifests/etcd.yaml";

/// A member and whether it runs.
#[derive(Clone, Debug)]
struct Seat {
    member: Member,
    /// Its home is none of the simulated machines.
    elsewhere: bool,
    alive: bool,
}

/// The etcds of a simulated cluster.
#[derive(Clone, Debug, Default)]
pub(super) struct SimEtcds {
    seats: Vec<Seat>,
    next_id: u64,
}

/// What an etcd's static pod says.
struct Pod {
    name: String,
    peer_url: String,
    client_url: String,
    data_dir: String,
}

impl Pod {
    fn of(host: &SimHost) -> Option<Self> {
        if host.is_off() || !host.kubelet_runs() {
            return None;
        }
        let text = host.with_world(|world| match world.tree.get(MANIFEST) {
            Some(Entry::File { content, .. }) => {
                Some(String::from_utf8_lossy(content).into_owned())
            }
            _ => None,
        })?;
        // Half a manifest is none.
        text.ends_with("status: {}\n").then_some(())?;
        let flag = |name: &str| {
            let lead = format!("- --{name}=");
            let mut lines = text.lines();
            lines.find_map(|line| Some(line.trim().strip_prefix(&lead)?.to_owned()))
        };
        Some(Self {
            name: flag("name")?,
            peer_url: flag("initial-advertise-peer-urls")?,
            client_url: flag("advertise-client-urls")?,
            data_dir: flag("data-dir")?,
        })
    }
}

impl SimEtcds {
    /// A member that runs somewhere else, with a vote.
    pub(super) fn put(&mut self, name: &str, host: &str) {
        let id = self.take_id();
        self.seats.push(Seat {
            member: Member {
                id,
                name: name.to_owned(),
                peer_urls: vec![format!("https://{host}:2380")],
                client_urls: vec![format!("https://{host}:2379")],
                is_learner: false,
            },
            elsewhere: true,
            alive: true,
        });
    }

    /// Lets a member elsewhere die or come back.
    pub(super) fn live(&mut self, name: &str, alive: bool) {
        let named = self.seats.iter_mut().find(|seat| seat.member.name == name);
        if let Some(seat) = named {
            seat.alive = alive;
        }
    }

    /// Takes a member elsewhere out of the cluster.
    pub(super) fn depart(&mut self, name: &str) {
        self.seats.retain(|seat| seat.member.name != name);
    }

    fn take_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Has the machines' kubelets run what their manifests say.
    pub(super) fn run_pods(&mut self, machines: &[SimHost]) {
        let pods: Vec<(Pod, &SimHost)> = machines
            .iter()
            .filter_map(|host| Some((Pod::of(host)?, host)))
            .collect();
        for seat in self.seats.iter_mut().filter(|seat| !seat.elsewhere) {
            let pod = pods
                .iter()
                .find(|(pod, _)| seat.member.peer_urls.contains(&pod.peer_url));
            seat.alive = match pod {
                Some((pod, host)) => started(&mut seat.member, pod, host),
                None => false,
            };
        }
    }

    /// Whether more than half of the voters run.
    pub(super) fn has_quorum(&self) -> bool {
        let voters = self.seats.iter().filter(|seat| !seat.member.is_learner);
        let (all, alive) = voters.fold((0, 0), |(all, alive), seat| {
            (all + 1, alive + usize::from(seat.alive))
        });
        alive > all / 2
    }

    /// Whether somebody who runs answers at one of these URLs, and is more than a learner.
    pub(super) fn answers(&self, endpoints: &[String]) -> bool {
        self.seats.iter().any(|seat| {
            let known = seat.member.client_urls.iter();
            seat.alive
                && !seat.member.is_learner
                && known.clone().any(|url| endpoints.contains(url))
        })
    }

    pub(super) fn members(&self) -> Vec<Member> {
        self.seats.iter().map(|seat| seat.member.clone()).collect()
    }

    pub(super) fn health(&self) -> Vec<MemberHealth> {
        let health = self.seats.iter().map(|seat| MemberHealth {
            member: seat.member.clone(),
            state: if seat.alive {
                Ok("3.6.5".to_owned())
            } else {
                Err("it does not answer".to_owned())
            },
        });
        health.collect()
    }

    pub(super) fn has_learner(&self) -> bool {
        self.seats.iter().any(|seat| seat.member.is_learner)
    }

    pub(super) fn add_learner(&mut self, peer_url: &str) -> u64 {
        let id = self.take_id();
        self.seats.push(Seat {
            member: Member {
                id,
                name: String::new(),
                peer_urls: vec![peer_url.to_owned()],
                client_urls: Vec::new(),
                is_learner: true,
            },
            elsewhere: false,
            alive: false,
        });
        id
    }

    /// Whether the learner has caught up: it does so as soon as it runs.
    pub(super) fn caught_up(&self, id: u64) -> bool {
        self.seats
            .iter()
            .any(|seat| seat.member.id == id && seat.alive)
    }

    pub(super) fn promote(&mut self, id: u64) {
        let found = self.seats.iter_mut().find(|seat| seat.member.id == id);
        if let Some(seat) = found {
            seat.member.is_learner = false;
        }
    }

    pub(super) fn remove(&mut self, id: u64) {
        self.seats.retain(|seat| seat.member.id != id);
    }
}

/// Starts a member on its machine: it fills its directory, unless that is another's.
fn started(member: &mut Member, pod: &Pod, host: &SimHost) -> bool {
    let path = format!("{}/member", pod.data_dir);
    let own = format!("{:x}", member.id).into_bytes();
    let runs = host.with_world(|world| {
        if !world.tree.contains_key(&pod.data_dir) {
            return false;
        }
        let attributes = Attributes {
            mode: 0o600,
            uid: 0,
            gid: 0,
            modified: 0,
            modified_nanos: 0,
        };
        let entry = world.tree.entry(path).or_insert_with(|| Entry::File {
            content: own.clone(),
            attributes,
        });
        matches!(entry, Entry::File { content, .. } if *content == own)
    });
    if runs {
        member.name.clone_from(&pod.name);
        member.client_urls = vec![pod.client_url.clone()];
    }
    runs
}
