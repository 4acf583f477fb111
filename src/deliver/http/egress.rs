//! Which addresses a host's name may lead to. What is written as an address, and `localhost`, is meant; a name whose
//! owner, or whose cache, says that it is the metadata service of the machine, or a neighbour, is not.

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

pub(super) struct Resolver {
    /// Private and loopback addresses too.
    pub allow_private: bool,
}

/// What an address is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Public,
    Private,
    /// Link-local, the metadata services among it, multicast, unspecified: never an endpoint.
    Never,
}

fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(v4) => reach_v4(v4),
        IpAddr::V6(v6) => match (v6.to_ipv4_mapped(), v6.segments()) {
            (Some(v4), _) => reach_v4(v4),
            // The metadata service of EC2.
            (_, [0xfd00, 0x0ec2, ..]) => Reach::Never,
            _ if v6.is_unicast_link_local() || v6.is_multicast() || v6.is_unspecified() => Reach::Never,
            _ if v6.is_loopback() || v6.is_unique_local() => Reach::Private,
            // Addresses of IPv4 behind a translator lead where those do.
            (_, [0x64, 0xff9b, 0, 0, 0, 0, high, low]) => {
                let [a, b] = high.to_be_bytes();
                let [c, d] = low.to_be_bytes();
                reach_v4(Ipv4Addr::new(a, b, c, d))
            }
            _ => Reach::Public,
        },
    }
}

fn reach_v4(address: Ipv4Addr) -> Reach {
    let [a, b, ..] = address.octets();
    // 100.64.0.0/10 is what providers use inside (RFC 6598); Alibaba's metadata service is there.
    let shared = a == 100 && (64..128).contains(&b);
    match () {
        () if a == 0 || address.is_link_local() || address.is_multicast() || address.is_broadcast() => Reach::Never,
        () if address.octets() == [100, 100, 100, 200] => Reach::Never,
        () if address.is_private() || address.is_loopback() || shared => Reach::Private,
        () => Reach::Public,
    }
}

impl Resolver {
    fn allows(&self, host: &str, address: IpAddr) -> bool {
        match reach(address) {
            Reach::Public => true,
            Reach::Private => self.allow_private || host.eq_ignore_ascii_case("localhost"),
            Reach::Never => false,
        }
    }
}

impl Resolve for Resolver {
    /// The client connects to what this returns: the name is not asked again in between.
    fn resolve(&self, name: Name) -> Resolving {
        let this = Resolver { allow_private: self.allow_private };
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            let allowed: Vec<SocketAddr> = found.iter().filter(|a| this.allows(&host, a.ip())).copied().collect();
            if let (Some(first), true) = (found.first(), allowed.is_empty()) {
                let ip = first.ip();
                let what = match reach(ip) {
                    Reach::Never => "which is never an endpoint".to_owned(),
                    _ => "a private address: allow it with `allow_private: true`".to_owned(),
                };
                let message = format!("`{host}` leads to {ip}, {what}");
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, message).into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_public_addresses_only_unless_allowed() {
        let closed = Resolver { allow_private: false };
        let open = Resolver { allow_private: true };
        for (address, closed_allows, open_allows) in [
            ("93.184.216.34", true, true),
            ("2606:2800:220:1::1", true, true),
            ("10.1.2.3", false, true),
            ("172.16.0.1", false, true),
            ("192.168.1.1", false, true),
            ("127.0.0.1", false, true),
            ("100.64.1.1", false, true),
            ("::1", false, true),
            ("fd12::1", false, true),
            ("::ffff:10.0.0.1", false, true),
            ("64:ff9b::a00:1", false, true),
            ("169.254.169.254", false, false),
            ("::ffff:169.254.169.254", false, false),
            ("64:ff9b::a9fe:a9fe", false, false),
            ("fd00:ec2::254", false, false),
            ("fe80::1", false, false),
            ("100.100.100.200", false, false),
            ("0.0.0.0", false, false),
            ("224.0.0.1", false, false),
        ] {
            let ip = address.parse().unwrap();
            assert_eq!((closed.allows("h", ip), open.allows("h", ip)), (closed_allows, open_allows), "{address}");
        }
        assert!(closed.allows("LocalHost", "127.0.0.1".parse().unwrap()));
    }
}
