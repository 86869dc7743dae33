//! The address of this machine by which ranks on other hosts reach the launcher.

use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs, UdpSocket};

use common::config::LaunchConfig;
use nix::ifaddrs::getifaddrs;

use super::error::BackendError;
use super::placement::Placement;
use super::remote::is_this_machine;
use crate::error::LaunchError;

/// Chooses the address at which ranks reach the launcher: `launch.control_address` where it is given, loopback where all
/// hosts are this machine, an address on `launch.interface`, or else the source address of the route to the first other host.
pub fn choose(launch: &LaunchConfig, placement: &Placement) -> Result<IpAddr, LaunchError> {
    if let Ok(address) = launch.control_address.parse() {
        return Ok(address);
    }
    let hosts = placement.hosts.iter().map(|on| on.host.as_str());
    let Some(other) = hosts.into_iter().find(|host| !is_this_machine(host)) else {
        return Ok(Ipv4Addr::LOCALHOST.into());
    };
    if !launch.interface.is_empty() {
        let found = launch.interface.split(',').find_map(|interface| on_interface(interface, &addresses()));
        return Ok(found.ok_or_else(|| BackendError::NoAddress { interface: launch.interface.clone() })?);
    }
    towards(other).ok_or_else(|| {
        LaunchError::Hosts(format!("no way to host {other} is known to this machine; give launch.control_address"))
    })
}

/// Returns the names of this machine's interfaces with their addresses.
fn addresses() -> Vec<(String, IpAddr)> {
    let Ok(interfaces) = getifaddrs() else { return Vec::new() };
    let address = |interface: nix::ifaddrs::InterfaceAddress| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        let ip = v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))?;
        Some((interface.interface_name, ip))
    };
    interfaces.filter_map(address).collect()
}

/// Returns the address in the subnet `interface`, or on the interface of that name. IPv4 is preferred to IPv6, as in Open
/// MPI.
fn on_interface(interface: &str, addresses: &[(String, IpAddr)]) -> Option<IpAddr> {
    let is_on = |(name, address): &&(String, IpAddr)| match (interface.split_once('/'), address) {
        (Some((network, bits)), IpAddr::V4(v4)) => is_in(*v4, network, bits),
        (Some(_), IpAddr::V6(_)) => false,
        (None, _) => name == interface,
    };
    let mut found: Vec<IpAddr> = addresses.iter().filter(is_on).map(|(_, address)| *address).collect();
    found.sort_by_key(IpAddr::is_ipv6);
    found.first().copied()
}

fn is_in(address: Ipv4Addr, network: &str, bits: &str) -> bool {
    let (Ok(network), Ok(bits @ 0..=32)) = (network.parse::<Ipv4Addr>(), bits.parse::<u32>()) else { return false };
    let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
    address.to_bits() & mask == network.to_bits() & mask
}

/// Returns the address from which this machine would send to `host`. Nothing is sent: connecting a datagram socket only looks
/// up the route.
fn towards(host: &str) -> Option<IpAddr> {
    let to = (host, 22).to_socket_addrs().ok()?.next()?;
    let from: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { std::net::Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((from, 0)).ok()?;
    socket.connect(to).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_is_a_name_or_a_subnet() {
        let on = |name: &str, address: &str| (name.to_owned(), address.parse().unwrap());
        let addresses = [on("lo", "127.0.0.1"), on("eth1", "fe80::1"), on("eth1", "10.1.2.3"), on("ib0", "172.16.0.9")];
        let found = |interface| on_interface(interface, &addresses).map(|address| address.to_string());
        assert_eq!(found("eth1").as_deref(), Some("10.1.2.3"));
        assert_eq!(found("172.16.0.0/12").as_deref(), Some("172.16.0.9"));
        assert_eq!(found("10.1.2.3/32").as_deref(), Some("10.1.2.3"));
        for none in ["eth0", "10.1.3.0/24", "10.1.2.0/x", "10.1.2.0/99"] {
            assert_eq!(found(none), None, "{none}");
        }
        assert_eq!(towards("127.0.0.1"), Some(Ipv4Addr::LOCALHOST.into()));
    }
}
