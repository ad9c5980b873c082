//! `muster playground`: a control plane and nodes on this machine, joined through the whole, real
//! protocol. As root each node has a network namespace with an address of its own; otherwise the
//! nodes are processes with folders of their own. When it ends, nothing stays.

mod network;
mod nodes;
mod screen;

use crate::args::playground::Playground;
use crate::cluster::{self, Cluster};
use crate::columns;
use crate::commands::token::{create_short_lived, join_command};
use crate::control_plane::{CERTIFICATE_LIFE, ControlPlane, Datastore, Plan};
use crate::exit::{FAILED, Failure};
use crate::printer::{Output, Printer};
use crate::signals;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use muster_identity::{BootstrapToken, Host, human_duration};
use network::Network;
use nodes::Nodes;
use serde_json::json;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long the playground's token lives.
const TOKEN_LIFE: SignedDuration = SignedDuration::from_hours(24);

/// The folder of a playground; removed at the end.
struct Folder {
    path: PathBuf,
}

/// Carries out `muster playground`.
pub(crate) async fn run(playground: Playground, printer: Printer) -> Result<(), Failure> {
    let folder = Folder::make(playground.data_dir.as_deref())?;
    let network = network(&playground, printer).await?;
    let result = in_folder(&playground, &folder, network.as_ref(), printer).await;
    if let Some(network) = &network {
        network.remove().await;
    }
    folder.remove();
    result
}

async fn network(playground: &Playground, printer: Printer) -> Result<Option<Network>, Failure> {
    if playground.no_namespaces {
        return Ok(None);
    }
    if !Network::is_possible().await {
        printer
            .note("nodes run as plain processes: network namespaces need root and the program ip");
        return Ok(None);
    }
    match Network::create(playground.nodes).await {
        Ok(network) => Ok(Some(network)),
        Err(error) => {
            printer.note(format!(
                "nodes run as plain processes: no network namespaces here ({error})"
            ));
            Ok(None)
        }
    }
}

async fn in_folder(
    playground: &Playground,
    folder: &Folder,
    network: Option<&Network>,
    printer: Printer,
) -> Result<(), Failure> {
    let begin = Instant::now();
    let plane = ControlPlane::start(plan(playground, folder, network)).await?;
    let result = with_plane(playground, folder, network, &plane, begin, printer).await;
    plane.stop().await;
    result
}

fn plan(playground: &Playground, folder: &Folder, network: Option<&Network>) -> Plan {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let mut bind = vec![SocketAddr::new(loopback, playground.port)];
    let mut names = Vec::new();
    if let Some(network) = network {
        // The nodes come over the bridge; people and kubectl over loopback, on the same port if one was chosen.
        let bridge = IpAddr::V4(network.host_address());
        bind.insert(0, SocketAddr::new(bridge, playground.port));
        names.push(Host::Ip(loopback));
    }
    let data_dir = folder.path.join("server");
    Plan {
        datastore: Datastore::Sqlite(data_dir.join("state.db")),
        data_dir,
        bind,
        advertise: None,
        names,
        approve_kubelet_serving: true,
        grace_period: Duration::from_secs(50),
        certificate_life: CERTIFICATE_LIFE,
        audit: None,
    }
}

async fn with_plane(
    playground: &Playground,
    folder: &Folder,
    network: Option<&Network>,
    plane: &ControlPlane,
    begin: Instant,
    printer: Printer,
) -> Result<(), Failure> {
    let endpoint = plane.server.endpoint().clone();
    printer.note(format!(
        "control plane ready at {} in {} ms",
        endpoint.url(),
        begin.elapsed().as_millis()
    ));
    let kubeconfig = plane.server.admin_kubeconfig_path();
    let cluster = cluster::connect(Some(&kubeconfig)).await?;
    let token = create_short_lived(&cluster, TOKEN_LIFE, "muster playground").await?;
    let mut nodes = Nodes::new(&folder.path, playground.nodes, network, printer);
    let pin = plane.server.ca().pin().to_string();
    let joining = nodes.join(&endpoint, &token, &pin);
    let joined = tokio::select! {
        joined = joining => joined.map(|()| true),
        () = signals::stopped() => Ok(false),
    };
    let result = match joined {
        Ok(true) => show_and_wait(playground, &cluster, &kubeconfig, &token, begin, printer).await,
        Ok(false) => Ok(()),
        Err(failure) => Err(failure),
    };
    nodes.stop().await;
    result
}

async fn show_and_wait(
    playground: &Playground,
    cluster: &Cluster,
    kubeconfig: &Path,
    token: &BootstrapToken,
    begin: Instant,
    printer: Printer,
) -> Result<(), Failure> {
    // The program may not be in the PATH of who tries it out.
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("muster"));
    let line = join_command(&program.to_string_lossy(), cluster, token)?;
    let table = node_table(cluster).await?;
    if printer.output() == Output::Text {
        printer.note(format!(
            "{} nodes are Ready, {:.1} s after the start\n",
            playground.nodes,
            begin.elapsed().as_secs_f64()
        ));
        printer.text(columns::aligned(&table));
    } else {
        printer.json(&json!({
            "type": "playground-ready",
            "nodes": playground.nodes,
            "kubeconfig": kubeconfig,
            "elapsed_ms": u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX),
        }));
    }
    if playground.once {
        return Ok(());
    }
    printer.note(format!(
        "\nIn another terminal:\n  export KUBECONFIG={}\n  kubectl get nodes -o wide\n\n\
         One more node, simulated, under a folder of its own:\n  {line} \\\n    \
         --root /tmp/one-more --node-name one-more --runtime hollow\n\n\
         Ctrl-C ends it all and leaves nothing behind.",
        kubeconfig.display()
    ));
    signals::stopped().await;
    printer.note("\ntaking everything back");
    Ok(())
}

/// The nodes as `kubectl get nodes -o wide` begins.
async fn node_table(cluster: &Cluster) -> Result<Vec<[String; 6]>, Failure> {
    let nodes = Api::<Node>::all(cluster.client.clone())
        .list(&ListParams::default())
        .await
        .map_err(|error| cluster::api_failure("the nodes cannot be listed", &error))?;
    let mut rows =
        vec![["NAME", "STATUS", "ROLES", "AGE", "VERSION", "INTERNAL-IP"].map(str::to_owned)];
    rows.extend(
        nodes
            .items
            .iter()
            .map(|node| node_row(node, Timestamp::now())),
    );
    Ok(rows)
}

fn node_row(node: &Node, now: Timestamp) -> [String; 6] {
    let status = node.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let ready = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition.type_ == "Ready");
    let ready = ready.is_some_and(|condition| condition.status == "True");
    let addresses = status.and_then(|status| status.addresses.as_ref());
    let address = addresses
        .into_iter()
        .flatten()
        .find(|address| address.type_ == "InternalIP");
    let created = node.creation_timestamp().map_or(now, |at| at.0);
    [
        node.name_any(),
        if ready { "Ready" } else { "NotReady" }.to_owned(),
        "<none>".to_owned(),
        human_duration(now.duration_since(created)),
        status
            .and_then(|status| status.node_info.as_ref())
            .map(|info| info.kubelet_version.clone())
            .unwrap_or_default(),
        address
            .map(|address| address.address.clone())
            .unwrap_or_default(),
    ]
}

impl Folder {
    /// Makes the folder: the one asked for, which must not exist, or one of our own.
    fn make(wanted: Option<&Path>) -> Result<Self, Failure> {
        use std::os::unix::fs::DirBuilderExt;
        let path = wanted.map_or_else(unique_folder, Path::to_owned);
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| {
            Failure::new(
                "data-dir-unusable",
                FAILED,
                format!("cannot make {}", path.display()),
            )
            .because(&error)
            .cure("name a folder that does not exist yet with --data-dir DIR")
        })?;
        Ok(Self { path })
    }

    fn remove(&self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            tracing::warn!(folder = %self.path.display(), %error, "the folder was not removed");
        }
    }
}

/// A name that nobody can guess beforehand: the folder for temporary files is everybody's.
fn unique_folder() -> PathBuf {
    let mut random = [0; 6];
    crate::entropy::fill(&mut random);
    let suffix: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    std::env::temp_dir().join(format!("muster-playground-{suffix}"))
}
