//! Looks at this machine for what configuration files leave open. It sends nothing.

use muster_kubeadm::config::{Ambient, KNOWN_CRI_SOCKETS};
use std::net::{IpAddr, UdpSocket};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

/// What this machine says of itself.
pub(crate) fn gather() -> Ambient {
    let hostname = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let is_socket = |url: &&str| {
        let path = url.strip_prefix("unix://").unwrap_or(url);
        std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
    };
    let sockets = KNOWN_CRI_SOCKETS.iter().copied().filter(is_socket);
    Ambient {
        hostname,
        cri_sockets: sockets.map(str::to_owned).collect(),
        advertise_address: leaving_address("192.0.2.1:9")
            .or_else(|| leaving_address("[2001:db8::1]:9")),
        loopback_address: None,
        file_exists: |path| Path::new(path).exists(),
        entropy: crate::entropy::fill,
    }
}

/// The address that packets to a distant one would leave from. Connecting a datagram socket sends no packet.
fn leaving_address(distant: &str) -> Option<IpAddr> {
    let own = if distant.starts_with('[') {
        "[::]:0"
    } else {
        "0.0.0.0:0"
    };
    let socket = UdpSocket::bind(own).ok()?;
    socket.connect(distant).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_unspecified() && !address.is_loopback()).then_some(address)
}
