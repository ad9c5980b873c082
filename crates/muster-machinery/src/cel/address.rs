//! IP addresses and ranges of them, as Kubernetes' library has them.

use std::net::{IpAddr, Ipv4Addr};

/// A range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    pub(super) address: IpAddr,
    pub(super) bits: u8,
}

/// Reads an address: no zones, no IPv4 in IPv6, no leading zeros.
pub(super) fn parse_address(text: &str) -> Option<IpAddr> {
    let address: IpAddr = text.parse().ok()?;
    match address {
        IpAddr::V6(six) if six.to_ipv4_mapped().is_some() => None,
        address => Some(address),
    }
}

/// Reads a range such as `10.0.0.0/8`.
pub(super) fn parse_network(text: &str) -> Option<Network> {
    let (address, bits) = text.split_once('/')?;
    let address = parse_address(address)?;
    let plain = bits.bytes().all(|b| b.is_ascii_digit()) && (bits == "0" || !bits.starts_with('0'));
    let bits: u8 = bits.parse().ok().filter(|_| plain)?;
    (bits <= width(address)).then_some(Network { address, bits })
}

const fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(four) => u128::from(u32::from(four)),
        IpAddr::V6(six) => u128::from(six),
    }
}

impl Network {
    fn prefix(&self, address: IpAddr) -> u128 {
        let rest = u32::from(width(address).saturating_sub(self.bits));
        number(address).checked_shr(rest).unwrap_or(0)
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        width(address) == width(self.address) && self.prefix(address) == self.prefix(self.address)
    }

    pub(super) fn contains_network(&self, other: &Self) -> bool {
        other.bits >= self.bits && self.contains(other.address)
    }

    /// The range without the bits that do not count.
    pub(super) fn masked(&self) -> Self {
        let rest = u32::from(width(self.address).saturating_sub(self.bits));
        let cut = self.prefix(self.address).checked_shl(rest).unwrap_or(0);
        let address = match self.address {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from(u32::try_from(cut).unwrap_or(0))),
            IpAddr::V6(_) => IpAddr::V6(cut.into()),
        };
        Self {
            address,
            bits: self.bits,
        }
    }
}
