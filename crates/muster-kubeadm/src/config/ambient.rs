//! What a machine says of itself when a configuration leaves something open.
//!
//! It refuses to look: whoever reads a configuration gathers this first.

use super::error::ConfigError;
use std::net::IpAddr;

/// Where the container runtimes listen that kubeadm knows, in its order.
pub const KNOWN_CRI_SOCKETS: [&str; 3] = [
    DEFAULT_CRI_SOCKET,
    "unix:///var/run/crio/crio.sock",
    "unix:///var/run/cri-dockerd.sock",
];

/// The socket that is assumed where none is found.
pub const DEFAULT_CRI_SOCKET: &str = "unix:///var/run/containerd/containerd.sock";

/// What a machine says of itself.
#[derive(Clone, Debug)]
pub struct Ambient {
    /// Its host name as the kernel has it.
    pub hostname: String,
    /// Those of [`KNOWN_CRI_SOCKETS`] that exist.
    pub cri_sockets: Vec<String>,
    /// The address that the default route leaves from.
    pub advertise_address: Option<IpAddr>,
    /// A global address on the loopback interface.
    pub loopback_address: Option<IpAddr>,
    /// Whether a file is there.
    pub file_exists: fn(&str) -> bool,
    /// Fills keys; must be cryptographically secure.
    pub entropy: fn(&mut [u8]),
}

/// The container runtime's socket: the only one there is, or containerd's where there is none.
///
/// # Errors
/// [`ConfigError::SeveralRuntimes`] where there are several.
pub fn detect_cri_socket(found: &[String]) -> Result<String, ConfigError> {
    match found {
        [] => Ok(DEFAULT_CRI_SOCKET.to_owned()),
        [one] => Ok(one.clone()),
        several => Err(ConfigError::SeveralRuntimes {
            sockets: several.to_vec(),
        }),
    }
}
