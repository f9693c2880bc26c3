//! Hosts that are this machine, told by their text alone: nothing is resolved.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Returns whether a host is `localhost`, in 127.0.0.0/8 or `::1`, with or without the brackets of a URL.
#[must_use]
pub fn is_loopback_host(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        || bare.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback())
}

/// Returns whether a host, as a URL has it, is one that native applications listen on for an authorization response:
/// `127.0.0.1` and `[::1]` (RFC 8252 section 7.3), or `localhost` (section 8.3).
#[must_use]
pub fn is_redirect_host(host: &str) -> bool {
    ["localhost", "127.0.0.1", "[::1]"].iter().any(|loopback| host.eq_ignore_ascii_case(loopback))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_hosts_are_localhost_and_loopback_addresses() {
        for good in ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "::1", "[::1]", "[0:0:0:0:0:0:0:1]"]
        {
            assert!(is_loopback_host(good), "{good}");
        }
        for bad in [
            "",
            "localhost.",
            "localhost.evil.test",
            "localhost:1",
            "127.0.0.1.evil.test",
            "127.1",
            "[127.0.0.1]",
            "128.0.0.1",
            "0.0.0.0",
            "[::2]",
            "[::ffff:127.0.0.1]",
            "[::1",
        ] {
            assert!(!is_loopback_host(bad), "{bad}");
        }
    }

    #[test]
    fn a_response_goes_to_three_loopback_hosts_only() {
        for good in ["localhost", "Localhost", "127.0.0.1", "[::1]"] {
            assert!(is_redirect_host(good), "{good}");
        }
        for bad in ["", "::1", "127.0.0.2", "[::2]", "localhost.", "localhost:1", "a.localhost"] {
            assert!(!is_redirect_host(bad), "{bad}");
        }
    }
}
