//! A small network for the playground: one bridge, and a network namespace with an address of its
//! own for each node. Everything is named after this process, so that it can be found and removed,
//! also by the next playground when this one was killed. It needs root and iproute2's `ip`.

use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Stdio;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// What the names of our links and namespaces begin with.
const PREFIX: &str = "mstr";

/// A bridge and its namespaces. [`Network::remove`] takes them away.
#[derive(Debug)]
pub(super) struct Network {
    id: u32,
    third_octet: u8,
    nodes: u16,
}

impl Network {
    /// Whether namespaces can be made here: root, and `ip` is there.
    pub(super) async fn is_possible() -> bool {
        rustix::process::geteuid().is_root() && run("ip", &["netns", "list"]).await.is_ok()
    }

    /// Makes the bridge and a namespace for each node.
    ///
    /// # Errors
    /// What `ip` says. What was made until then is removed again.
    pub(super) async fn create(nodes: u16) -> io::Result<Self> {
        remove_abandoned().await;
        let network = Self {
            id: std::process::id(),
            third_octet: free_third_octet().await?,
            nodes,
        };
        match network.make().await {
            Ok(()) => Ok(network),
            Err(error) => {
                network.remove().await;
                Err(error)
            }
        }
    }

    /// The address of this machine on the bridge.
    pub(super) fn host_address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 213, self.third_octet, 1)
    }

    /// The address of a node, counted from 1.
    pub(super) fn node_address(&self, node: u16) -> Ipv4Addr {
        // At most 200 nodes: clap refuses more.
        Ipv4Addr::new(
            10,
            213,
            self.third_octet,
            10 + u8::try_from(node).unwrap_or(u8::MAX - 10),
        )
    }

    /// The namespace of a node, counted from 1.
    pub(super) fn namespace(&self, node: u16) -> String {
        format!("{PREFIX}-{}-{node}", self.id)
    }

    fn bridge(&self) -> String {
        format!("{PREFIX}{}", self.id)
    }

    async fn make(&self) -> io::Result<()> {
        batch(&[], &self.commands()).await?;
        for node in 1..=self.nodes {
            batch(&["-n", &self.namespace(node)], &self.node_commands(node)).await?;
        }
        Ok(())
    }

    /// What `ip -batch` does inside the namespace of a node.
    fn node_commands(&self, node: u16) -> String {
        format!(
            "addr add {}/24 dev eth0\nlink set eth0 up\nlink set lo up\nroute add default via {}\n",
            self.node_address(node),
            self.host_address()
        )
    }

    /// What `ip -batch` does on the machine itself.
    fn commands(&self) -> String {
        let bridge = self.bridge();
        let mut lines = vec![
            format!("link add {bridge} type bridge"),
            format!("addr add {}/24 dev {bridge}", self.host_address()),
            format!("link set {bridge} up"),
        ];
        for node in 1..=self.nodes {
            let namespace = self.namespace(node);
            let link = format!("{bridge}v{node}");
            lines.extend([
                format!("netns add {namespace}"),
                format!("link add {link} type veth peer name eth0 netns {namespace}"),
                format!("link set {link} master {bridge} up"),
            ]);
        }
        lines.join("\n") + "\n"
    }

    /// Removes namespaces (their links go with them) and the bridge. What is gone already is fine.
    pub(super) async fn remove(&self) {
        remove_of(self.id).await;
    }
}

/// Removes what playgrounds left behind that were killed.
async fn remove_abandoned() {
    for id in owners().await {
        if !Path::new("/proc").join(id.to_string()).exists() {
            remove_of(id).await;
        }
    }
}

async fn remove_of(id: u32) {
    // The kernel would remove these links together with the namespaces, but only some time later.
    let mine = format!("{PREFIX}{id}v");
    let links = run("ip", &["-o", "link", "show", "type", "veth"])
        .await
        .unwrap_or_default();
    for link in links
        .lines()
        .filter_map(link_name)
        .filter(|link| link.starts_with(&mine))
    {
        let _ = run("ip", &["link", "delete", link]).await;
    }
    let prefix = format!("{PREFIX}-{id}-");
    let namespaces = run("ip", &["netns", "list"]).await.unwrap_or_default();
    for namespace in namespaces
        .lines()
        .filter_map(|line| line.split_whitespace().next())
    {
        if namespace.starts_with(&prefix)
            && let Err(error) = run("ip", &["netns", "delete", namespace]).await
        {
            tracing::warn!(namespace, %error, "a network namespace was not removed");
        }
    }
    // Fails when it is gone already, which is what is wanted.
    let _ = run("ip", &["link", "delete", &format!("{PREFIX}{id}")]).await;
}

/// The processes that our bridges and namespaces are named after.
async fn owners() -> Vec<u32> {
    let mut found = Vec::new();
    let namespaces = run("ip", &["netns", "list"]).await.unwrap_or_default();
    for line in namespaces.lines() {
        let id = line
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.strip_prefix('-'));
        found.extend(id.and_then(|rest| rest.split('-').next()?.parse::<u32>().ok()));
    }
    let links = run("ip", &["-o", "link", "show", "type", "bridge"])
        .await
        .unwrap_or_default();
    for line in links.lines() {
        let name = line
            .split(':')
            .nth(1)
            .map(str::trim)
            .and_then(|name| name.strip_prefix(PREFIX));
        found.extend(name.and_then(|id| id.parse::<u32>().ok()));
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// The name in a line of `ip -o link`: `7: NAME@PEER: <FLAGS> …`.
fn link_name(line: &str) -> Option<&str> {
    line.split(": ").nth(1)?.split('@').next()
}

/// A 10.213.N.0/24 that nothing on this machine uses.
async fn free_third_octet() -> io::Result<u8> {
    let routes = run("ip", &["-4", "route", "show"]).await?;
    (1..=254)
        .find(|octet| !routes.contains(&format!("10.213.{octet}.")))
        .ok_or_else(|| io::Error::other("all of 10.213.0.0/16 is in use"))
}

async fn batch(options: &[&str], lines: &str) -> io::Result<()> {
    let mut child = Command::new("ip")
        .args(options)
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(lines.as_bytes()).await?;
    }
    let output = child.wait_with_output().await?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(
        String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    ))
}

async fn run(program: &str, arguments: &[&str]) -> io::Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(io::Error::other(
        String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_links_fit_into_the_kernels_15_characters() {
        let network = Network {
            id: 4_194_304,
            third_octet: 7,
            nodes: 200,
        };
        for line in network
            .commands()
            .lines()
            .filter(|line| line.starts_with("link add"))
        {
            let name = line.split_whitespace().nth(2).unwrap_or_default();
            assert!(name.len() <= 15, "{name}");
        }
        assert_eq!(network.node_address(1), Ipv4Addr::new(10, 213, 7, 11));
    }
}
