//! Cluster addresses and node ports of services: given out from their ranges, never twice.
//!
//! Refuses to know: who routes to them. What is taken is read from the services themselves; what was given
//! out a moment ago and is not written yet is remembered for a while.

use std::{
    collections::{HashMap, HashSet},
    net::Ipv4Addr,
    sync::Arc,
    time::{Duration, Instant},
};

use muster_machinery::{meta, status::Status};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::super::Refusal;
use crate::watch::WatchCache;

/// The service range, 10.96.0.0/12. The first addresses of it are for services that ask for one by name.
const RANGE_START: u32 = u32::from_be_bytes([10, 96, 0, 0]);
/// How many addresses it has.
const RANGE_SIZE: u32 = 1 << 20;
/// Where giving out begins (kube-apiserver's static band).
const DYNAMIC_START: u32 = 256;
/// Node ports, both ends included.
const NODE_PORTS: std::ops::RangeInclusive<u16> = 30_000..=32_767;
/// How long something given out counts as taken without being seen in a service.
const REMEMBERED: Duration = Duration::from_secs(60);

/// Gives out addresses and ports.
pub(crate) struct ServiceAddresses {
    cache: Arc<WatchCache>,
    given: Mutex<Given>,
}

#[derive(Default)]
struct Given {
    addresses: HashMap<u32, Instant>,
    ports: HashMap<u16, Instant>,
    next: u32,
}

impl ServiceAddresses {
    /// Addresses for the services in `cache`.
    pub(crate) fn new(cache: Arc<WatchCache>) -> Self {
        let given = Given {
            next: DYNAMIC_START,
            ..Given::default()
        };
        Self {
            cache,
            given: Mutex::new(given),
        }
    }

    /// Completes a service that is about to be written.
    pub(in super::super) fn assign(
        &self,
        service: &mut Value,
        old: Option<&Value>,
    ) -> Result<(), Refusal> {
        let kind = meta::str_at(service, &["spec", "type"])
            .unwrap_or("ClusterIP")
            .to_owned();
        if kind == "ExternalName" {
            return Ok(());
        }
        self.assign_address(service, old)?;
        if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
            self.assign_ports(service)?;
        }
        Ok(())
    }

    fn assign_address(&self, service: &mut Value, old: Option<&Value>) -> Result<(), Refusal> {
        let asked = meta::str_at(service, &["spec", "clusterIP"])
            .unwrap_or_default()
            .to_owned();
        let before = old.and_then(|old| meta::str_at(old, &["spec", "clusterIP"]));
        let address = match (asked.as_str(), before) {
            ("", Some(before)) if !before.is_empty() => before.to_owned(),
            ("", _) => self.next_address()?.to_string(),
            ("None", _) => asked,
            (_, Some(before)) if before == asked => asked,
            _ => {
                self.reserve(&asked)?;
                asked
            }
        };
        let Some(spec) = meta::map_mut(service, "spec") else {
            return Ok(());
        };
        spec.insert("clusterIPs".to_owned(), json!([address]));
        spec.insert("clusterIP".to_owned(), address.into());
        let default = |spec: &mut serde_json::Map<String, Value>, key: &str, value: Value| {
            if spec.get(key).is_none_or(Value::is_null) {
                spec.insert(key.to_owned(), value);
            }
        };
        default(spec, "ipFamilies", json!(["IPv4"]));
        default(spec, "ipFamilyPolicy", json!("SingleStack"));
        Ok(())
    }

    /// What was given out for this service is seen in it from now on, or was not needed after all.
    pub(in super::super) fn release(&self, service: &Value) {
        let address = meta::str_at(service, &["spec", "clusterIP"])
            .and_then(|address| address.parse::<Ipv4Addr>().ok());
        let mut given = self.given.lock();
        if let Some(address) = address {
            given.addresses.remove(&u32::from(address));
        }
        for port in node_ports(service) {
            given.ports.remove(&port);
        }
    }

    fn taken(&self) -> (HashSet<u32>, HashSet<u16>) {
        let services = self.cache.resource("", "services").snapshot(None, None, 0);
        let mut addresses = HashSet::new();
        let mut ports = HashSet::new();
        for service in services
            .objects
            .iter()
            .filter_map(|service| service.value().ok())
        {
            let address = meta::str_at(&service, &["spec", "clusterIP"]);
            addresses.extend(
                address
                    .and_then(|a| a.parse::<Ipv4Addr>().ok())
                    .map(u32::from),
            );
            ports.extend(node_ports(&service));
        }
        (addresses, ports)
    }

    fn next_address(&self) -> Result<Ipv4Addr, Refusal> {
        let (taken, _) = self.taken();
        let mut given = self.given.lock();
        given.forget();
        for _ in DYNAMIC_START..RANGE_SIZE - 1 {
            let offset = given.next;
            given.next = if offset + 2 >= RANGE_SIZE {
                DYNAMIC_START
            } else {
                offset + 1
            };
            let address = RANGE_START + offset;
            if !taken.contains(&address) && !given.addresses.contains_key(&address) {
                given.addresses.insert(address, Instant::now());
                return Ok(Ipv4Addr::from(address));
            }
        }
        Err(Status::internal("failed to allocate a serviceIP: range is full").into())
    }

    fn reserve(&self, asked: &str) -> Result<(), Refusal> {
        let refuse = |why: &str| -> Refusal {
            let error = muster_machinery::validation::FieldError::invalid(
                "spec.clusterIPs",
                json!([asked]),
                why.to_owned(),
            );
            Status::invalid("", "Service", "", &[error]).into()
        };
        let address: Ipv4Addr = asked
            .parse()
            .map_err(|_| refuse("must be a valid IPv4 address or \"None\""))?;
        let address = u32::from(address);
        if !(RANGE_START + 1..RANGE_START + RANGE_SIZE - 1).contains(&address) {
            return Err(refuse(
                "failed to allocate IP: the provided network does not match the current range",
            ));
        }
        let (taken, _) = self.taken();
        let mut given = self.given.lock();
        given.forget();
        if taken.contains(&address) || given.addresses.insert(address, Instant::now()).is_some() {
            return Err(refuse(
                "failed to allocate IP: provided IP is already allocated",
            ));
        }
        Ok(())
    }

    fn assign_ports(&self, service: &mut Value) -> Result<(), Refusal> {
        let (_, taken) = self.taken();
        let Some(ports) = service
            .pointer_mut("/spec/ports")
            .and_then(Value::as_array_mut)
        else {
            return Ok(());
        };
        let mut given = self.given.lock();
        given.forget();
        for port in ports.iter_mut().filter_map(Value::as_object_mut) {
            if port.get("nodePort").and_then(Value::as_u64).unwrap_or(0) != 0 {
                continue;
            }
            let free = NODE_PORTS
                .into_iter()
                .find(|port| !taken.contains(port) && !given.ports.contains_key(port))
                .ok_or_else(|| Status::internal("failed to allocate a nodePort: range is full"))?;
            given.ports.insert(free, Instant::now());
            port.insert("nodePort".to_owned(), free.into());
        }
        Ok(())
    }
}

impl Given {
    fn forget(&mut self) {
        self.addresses
            .retain(|_, since| since.elapsed() < REMEMBERED);
        self.ports.retain(|_, since| since.elapsed() < REMEMBERED);
    }
}

/// The node ports that a service has.
pub(super) fn node_ports(service: &Value) -> impl Iterator<Item = u16> + '_ {
    meta::items(service, &["spec", "ports"])
        .iter()
        .filter_map(|port| u16::try_from(port.get("nodePort")?.as_u64()?).ok())
        .filter(|port| *port != 0)
}
