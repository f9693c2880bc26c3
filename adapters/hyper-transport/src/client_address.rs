//! The address that a request is counted by before anything of it is believed: the peer's, or what trusted proxies say of it.
//!
//! Of a field that proxies append to, the right-most part is by the peer, and each further one by whom the part after it names.
//! It is read from the right, and no further than proxies are trusted: what a client writes stands to the left of that.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use hyper::HeaderMap;
use hyper::header::{FORWARDED, HeaderName};
use ipnet::IpNet;

use crate::socket::Peer;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The field in which proxies name the client's address. The other one is not read: a client may have sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForwardedField {
    /// `X-Forwarded-For`.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// Which proxies are believed what they say of a client's address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    /// Their networks.
    pub networks: Vec<IpNet>,
    /// Whether whoever connects to a Unix socket is one.
    pub unix: bool,
    /// Where they say it.
    pub field: ForwardedField,
}

impl TrustedProxies {
    /// Returns the address to count a request by: of IPv6 the network of 64 bits, which one client has all of. Where a trusted
    /// proxy names none that can be read, it counts itself. All clients of a Unix socket that is not trusted are one: `::`.
    pub(crate) fn client(&self, peer: Peer, headers: &HeaderMap) -> IpAddr {
        let mut client = match peer {
            Peer::Address(peer) => peer.ip().to_canonical(),
            Peer::Unix => Ipv6Addr::UNSPECIFIED.into(),
        };
        let mut is_trusted = match peer {
            Peer::Address(_) => self.is_proxy(client),
            Peer::Unix => self.unix,
        };
        if is_trusted {
            let mut hops = self.hops(headers);
            while is_trusted && let Some(Some(hop)) = hops.next() {
                client = hop;
                is_trusted = self.is_proxy(client);
            }
        }
        network(client)
    }

    fn is_proxy(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// Returns the addresses of the field from the right; `None` for a part that names none.
    fn hops<'h>(&self, headers: &'h HeaderMap) -> impl Iterator<Item = Option<IpAddr>> + 'h {
        let (name, address): (_, fn(&str) -> Option<IpAddr>) = match self.field {
            ForwardedField::XForwardedFor => (X_FORWARDED_FOR, |part| address(part.trim())),
            ForwardedField::Forwarded => (FORWARDED, forwarded_for),
        };
        let lines = headers.get_all(name).iter().rev();
        // A line that is no text has no part that can be read.
        lines.flat_map(|line| parts_from_right(line.to_str().unwrap_or("?"), ',')).map(address)
    }
}

/// Returns the parts of a text from the right. A separator in quotation marks separates nothing; what those are is judged from
/// the right, too, so that none that a client left open takes in what a proxy appended.
fn parts_from_right(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let mut is_quoted = false;
        let at = text.char_indices().rev().find(|&(at, char)| {
            is_quoted ^= char == '"' && !is_escaped(&text[..at]);
            char == separator && !is_quoted
        });
        let (before, part) = match at {
            Some((at, _)) => (Some(&text[..at]), &text[at + separator.len_utf8()..]),
            None => (None, text),
        };
        rest = before;
        Some(part)
    })
}

fn is_escaped(before: &str) -> bool {
    before.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// Returns the address of the one `for` of a forwarded-element (RFC 7239 section 4).
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let pairs = parts_from_right(element, ';').filter_map(|pair| pair.split_once('='));
    let mut nodes = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case("for"));
    let (node, another) = (nodes.next()?.1.trim(), nodes.next());
    let quoted = node.strip_prefix('"').and_then(|node| node.strip_suffix('"'));
    if another.is_none() { address(quoted.unwrap_or(node)) } else { None }
}

/// Reads an address, with or without a port, and in brackets or not.
fn address(text: &str) -> Option<IpAddr> {
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let address = text.parse().ok().or_else(bracketed).or_else(with_port)?;
    Some(address.to_canonical())
}

fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn proxies(field: ForwardedField) -> TrustedProxies {
        let networks = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap());
        TrustedProxies { networks: networks.into(), unix: true, field }
    }

    fn peer(address: &str) -> Peer {
        Peer::Address(SocketAddr::new(address.parse().unwrap(), 4711))
    }

    fn client(field: ForwardedField, peer: Peer, lines: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        let (name, other) = match field {
            ForwardedField::XForwardedFor => (X_FORWARDED_FOR, FORWARDED),
            ForwardedField::Forwarded => (FORWARDED, X_FORWARDED_FOR),
        };
        headers.append(other, HeaderValue::from_static("for=8.8.8.8"));
        for line in lines {
            headers.append(&name, HeaderValue::from_str(line).unwrap());
        }
        proxies(field).client(peer, &headers).to_string()
    }

    #[test]
    fn the_right_most_address_counts_that_is_no_trusted_proxy() {
        for (from, lines, expected) in [
            ("192.0.2.1", &["1.1.1.1"][..], "192.0.2.1"),
            ("::ffff:192.0.2.1", &["1.1.1.1"], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["1.1.1.1"], "1.1.1.1"),
            ("::ffff:10.0.0.1", &["1.1.1.1"], "1.1.1.1"),
            ("10.0.0.1", &["9.9.9.9, 1.1.1.1"], "1.1.1.1"),
            ("10.0.0.1", &["9.9.9.9, 1.1.1.1,10.0.0.2 , 10.0.0.3"], "1.1.1.1"),
            ("10.0.0.1", &["9.9.9.9", "1.1.1.1", "10.0.0.2"], "1.1.1.1"),
            ("10.0.0.1", &["1.1.1.1:50000"], "1.1.1.1"),
            ("fd00::1", &["2001:db8:1:2:3:4:5:6"], "2001:db8:1:2::"),
            ("fd00::1", &["[2001:db8:1:3:ffff:4:5:6]:443"], "2001:db8:1:3::"),
            ("10.0.0.1", &["::ffff:1.1.1.1"], "1.1.1.1"),
            ("10.0.0.1", &["1.1.1.1, [::ffff:10.0.0.2]:80"], "1.1.1.1"),
            ("10.0.0.1", &["1.1.1.1, fe80::1%eth0"], "10.0.0.1"),
            ("10.0.0.1", &["1.1.1.1, 0x7f.1"], "10.0.0.1"),
            ("10.0.0.1", &["10.0.0.7, 10.0.0.2"], "10.0.0.7"),
            ("10.0.0.1", &["1.1.1.1, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["1.1.1.1, unknown, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &["1.1.1.1,"], "10.0.0.1"),
            ("10.0.0.1", &["9.9.9.9\", 1.1.1.1"], "1.1.1.1"),
        ] {
            assert_eq!(
                client(ForwardedField::XForwardedFor, peer(from), lines),
                expected,
                "{from} {lines:?}"
            );
        }
        assert_eq!(client(ForwardedField::XForwardedFor, Peer::Unix, &["9.9.9.9, 1.1.1.1"]), "1.1.1.1");
        let untrusted = TrustedProxies { unix: false, ..proxies(ForwardedField::XForwardedFor) };
        let mut headers = HeaderMap::new();
        headers.append(X_FORWARDED_FOR, HeaderValue::from_static("1.1.1.1"));
        assert_eq!(untrusted.client(Peer::Unix, &headers).to_string(), "::");
    }

    #[test]
    fn forwarded_elements_are_read_as_rfc_7239_has_them() {
        for (line, expected) in [
            ("for=1.1.1.1", "1.1.1.1"),
            ("For=\"1.1.1.1:80\";proto=https", "1.1.1.1"),
            ("proto=https; for=1.1.1.1 ;by=10.0.0.1", "1.1.1.1"),
            ("for=9.9.9.9, for=\"[2001:db8::1]:4711\"", "2001:db8::"),
            ("for=9.9.9.9, for=\"[2001:db8::1]\", for=10.0.0.2", "2001:db8::"),
            // What a client wrote into Host stands in a proxy's own part.
            ("for=1.1.1.1;host=\"a;for=9.9.9.9\"", "1.1.1.1"),
            ("for=1.1.1.1;host=\"a, for=9.9.9.9\"", "1.1.1.1"),
            ("for=1.1.1.1;host=\"a\\\", for=9.9.9.9\"", "1.1.1.1"),
            // A quotation mark that a client left open.
            ("for=\"9.9.9.9, for=1.1.1.1", "1.1.1.1"),
            ("for=1.1.1.1;for=9.9.9.9", "10.0.0.1"),
            ("for=9.9.9.9, for=_hidden", "10.0.0.1"),
            ("for=9.9.9.9, by=10.0.0.9", "10.0.0.1"),
        ] {
            assert_eq!(client(ForwardedField::Forwarded, peer("10.0.0.1"), &[line]), expected, "{line}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_a_client_writes_before_a_proxys_part_counts(
            spoofed in prop::collection::vec("[ -~]{0,40}", 0..3), same_line in any::<bool>(),
        ) {
            for (field, own) in
                [(ForwardedField::XForwardedFor, "1.1.1.1"), (ForwardedField::Forwarded, "for=\"1.1.1.1:80\";proto=http")]
            {
                let mut lines = spoofed.clone();
                match lines.last_mut().filter(|_| same_line) {
                    Some(line) => *line = format!("{line}, {own}"),
                    None => lines.push(own.to_owned()),
                }
                let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
                prop_assert_eq!(client(field, peer("10.0.0.1"), &lines), "1.1.1.1");
                prop_assert_eq!(client(field, peer("192.0.2.1"), &lines), "192.0.2.1");
            }
        }
    }
}
