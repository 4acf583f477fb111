//! Which addresses a host's name may lead to. What is written as an address, and `localhost`, is meant; a name whose
//! owner, or whose cache, says that it is the metadata service of the machine, or a neighbour, is not.

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub(super) struct Resolver {
    /// Private and loopback addresses too.
    pub allow_private: bool,
}

/// What an address is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AddressReach {
    Public,
    Private,
    /// Link-local, the metadata services among it, multicast, unspecified: never an endpoint.
    Never,
}

fn reach(address: IpAddr) -> AddressReach {
    match address {
        IpAddr::V4(v4) => reach_v4(v4),
        IpAddr::V6(v6) => reach_v6(v6),
    }
}

/// Blocks of IPv4 that are special (IANA, "IPv4 Special-Purpose Address Registry"), the narrower ones first, and metadata
/// services outside link-local addresses. Whatever else there is is public.
const V4: [(Ipv4Addr, u32, AddressReach); 24] = [
    // Oracle's metadata service, Alibaba's, Azure's.
    (Ipv4Addr::new(192, 0, 0, 192), 32, AddressReach::Never),
    (Ipv4Addr::new(100, 100, 100, 200), 32, AddressReach::Never),
    (Ipv4Addr::new(168, 63, 129, 16), 32, AddressReach::Never),
    (Ipv4Addr::new(0, 0, 0, 0), 8, AddressReach::Never),
    (Ipv4Addr::new(169, 254, 0, 0), 16, AddressReach::Never),
    (Ipv4Addr::new(255, 255, 255, 255), 32, AddressReach::Never),
    (Ipv4Addr::new(224, 0, 0, 0), 4, AddressReach::Never),
    (Ipv4Addr::new(10, 0, 0, 0), 8, AddressReach::Private),
    (Ipv4Addr::new(100, 64, 0, 0), 10, AddressReach::Private),
    (Ipv4Addr::new(127, 0, 0, 0), 8, AddressReach::Private),
    (Ipv4Addr::new(172, 16, 0, 0), 12, AddressReach::Private),
    (Ipv4Addr::new(192, 168, 0, 0), 16, AddressReach::Private),
    (Ipv4Addr::new(192, 0, 0, 9), 32, AddressReach::Public),
    (Ipv4Addr::new(192, 0, 0, 10), 32, AddressReach::Public),
    (Ipv4Addr::new(192, 0, 0, 0), 24, AddressReach::Private),
    (Ipv4Addr::new(192, 0, 2, 0), 24, AddressReach::Private),
    (Ipv4Addr::new(192, 31, 196, 0), 24, AddressReach::Public),
    (Ipv4Addr::new(192, 52, 193, 0), 24, AddressReach::Public),
    (Ipv4Addr::new(192, 88, 99, 0), 24, AddressReach::Private),
    (Ipv4Addr::new(192, 175, 48, 0), 24, AddressReach::Public),
    (Ipv4Addr::new(198, 18, 0, 0), 15, AddressReach::Private),
    (Ipv4Addr::new(198, 51, 100, 0), 24, AddressReach::Private),
    (Ipv4Addr::new(203, 0, 113, 0), 24, AddressReach::Private),
    (Ipv4Addr::new(240, 0, 0, 0), 4, AddressReach::Private),
];

fn reach_v4(address: Ipv4Addr) -> AddressReach {
    let is_in = |block: Ipv4Addr, bits: u32| (address.to_bits() ^ block.to_bits()).leading_zeros() >= bits;
    V4.iter().find(|(block, bits, _)| is_in(*block, *bits)).map_or(AddressReach::Public, |(.., reach)| *reach)
}

/// The same of IPv6, where whatever else there is is private: only 2000::/3 has been given to anybody.
const V6: [(Ipv6Addr, u32, AddressReach); 18] = [
    // The metadata services of EC2 and of Google's.
    (Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0), 32, AddressReach::Never),
    (Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254), 128, AddressReach::Never),
    (Ipv6Addr::UNSPECIFIED, 128, AddressReach::Never),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, AddressReach::Never),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, AddressReach::Never),
    // What is sent to these is dropped.
    (Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0), 64, AddressReach::Never),
    (Ipv6Addr::new(0x100, 0, 0, 1, 0, 0, 0, 0), 64, AddressReach::Never),
    (Ipv6Addr::LOCALHOST, 128, AddressReach::Private),
    (Ipv6Addr::new(0x2001, 1, 0, 0, 0, 0, 0, 1), 128, AddressReach::Public),
    (Ipv6Addr::new(0x2001, 1, 0, 0, 0, 0, 0, 2), 127, AddressReach::Public),
    (Ipv6Addr::new(0x2001, 3, 0, 0, 0, 0, 0, 0), 32, AddressReach::Public),
    (Ipv6Addr::new(0x2001, 4, 0x112, 0, 0, 0, 0, 0), 48, AddressReach::Public),
    (Ipv6Addr::new(0x2001, 0x20, 0, 0, 0, 0, 0, 0), 28, AddressReach::Public),
    (Ipv6Addr::new(0x2001, 0x30, 0, 0, 0, 0, 0, 0), 28, AddressReach::Public),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, AddressReach::Private),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, AddressReach::Private),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, AddressReach::Private),
    (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3, AddressReach::Public),
];

fn reach_v6(address: Ipv6Addr) -> AddressReach {
    let special = |address: Ipv6Addr| {
        let is_in = |block: Ipv6Addr, bits: u32| (address.to_bits() ^ block.to_bits()).leading_zeros() >= bits;
        V6.iter().find(|(block, bits, _)| is_in(*block, *bits)).map_or(AddressReach::Private, |(.., reach)| *reach)
    };
    let v4 = |high: u16, low: u16| reach_v4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => special(address),
        // Compatible, mapped, translated: addresses of IPv4 lead where those do.
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
        // 6to4.
        [0x2002, high, low, ..] => v4(high, low),
        // A network's own translator, which has the address at either place (RFC 6052, RFC 8215).
        [0x64, 0xff9b, 1, a, b, c, high, low] => {
            let inside = v4(a, b << 8 | c >> 8);
            if inside == AddressReach::Never && a != 0 || v4(high, low) == AddressReach::Never && high != 0 {
                return AddressReach::Never;
            }
            AddressReach::Private
        }
        _ => special(address),
    }
}

impl Resolver {
    fn allows(&self, host: &str, address: IpAddr) -> bool {
        match reach(address) {
            AddressReach::Public => true,
            AddressReach::Private => self.allow_private || host.eq_ignore_ascii_case("localhost"),
            AddressReach::Never => false,
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
                    AddressReach::Never => "which is never an endpoint".to_owned(),
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
            ("255.255.255.255", false, false),
            // Metadata services of Oracle and Azure.
            ("192.0.0.192", false, false),
            ("168.63.129.16", false, false),
            ("168.63.129.17", true, true),
            ("fd20:ce::254", false, false),
            // IANA's special-purpose addresses of IPv4; what of them everybody may reach is public.
            ("192.0.0.1", false, true),
            ("192.0.0.9", true, true),
            ("192.0.0.10", true, true),
            ("192.0.1.1", true, true),
            ("192.0.2.1", false, true),
            ("192.31.196.1", true, true),
            ("192.52.193.1", true, true),
            ("192.88.99.1", false, true),
            ("192.175.48.1", true, true),
            ("198.17.255.255", true, true),
            ("198.18.0.1", false, true),
            ("198.19.255.255", false, true),
            ("198.20.0.0", true, true),
            ("198.51.100.1", false, true),
            ("203.0.113.1", false, true),
            ("240.0.0.1", false, true),
            ("255.255.255.254", false, true),
            // And of IPv6.
            ("::", false, false),
            ("ff02::1", false, false),
            ("100::1", false, false),
            ("100:0:0:1::1", false, false),
            ("2001::1", false, true),
            ("2001:1::1", true, true),
            ("2001:1::2", true, true),
            ("2001:1::3", true, true),
            ("2001:1::4", false, true),
            ("2001:2::1", false, true),
            ("2001:3::1", true, true),
            ("2001:4:112::1", true, true),
            ("2001:4:113::1", false, true),
            ("2001:10::1", false, true),
            ("2001:20::1", true, true),
            ("2001:3f::1", true, true),
            ("2001:40::1", false, true),
            ("2001:200::1", true, true),
            ("2001:db8::1", false, true),
            ("2620:4f:8000::1", true, true),
            ("3fff::1", false, true),
            ("3fff:1000::1", true, true),
            ("5f00::1", false, true),
            ("fec0::1", false, true),
            ("4000::1", false, true),
            // Addresses of IPv4 inside: mapped, translated, 6to4, compatible.
            ("::ffff:8.8.8.8", true, true),
            ("::ffff:192.0.0.192", false, false),
            ("::ffff:0:10.0.0.1", false, true),
            ("::ffff:0:169.254.169.254", false, false),
            ("::169.254.169.254", false, false),
            ("::10.0.0.1", false, true),
            ("64:ff9b::808:808", true, true),
            ("64:ff9b::c000:c0", false, false),
            ("64:ff9b:1::1", false, true),
            ("64:ff9b:1::808:808", false, true),
            ("64:ff9b:1::a9fe:a9fe", false, false),
            ("64:ff9b:1:a9fe:a9:fe00::", false, false),
            ("64:ff9b:2::1", false, true),
            ("2002:808:808::1", true, true),
            ("2002:a00:1::1", false, true),
            ("2002:a9fe:a9fe::1", false, false),
            ("2002:a83f:8110::1", false, false),
        ] {
            let ip = address.parse().unwrap();
            assert_eq!((closed.allows("h", ip), open.allows("h", ip)), (closed_allows, open_allows), "{address}");
        }
        assert!(closed.allows("LocalHost", "127.0.0.1".parse().unwrap()));
    }
}
