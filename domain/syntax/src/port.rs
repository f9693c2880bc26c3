//! Ports of URLs and `Host` fields (RFC 3986 section 3.2.3).

/// Returns the port that `text` is: digits only, in 16 bits.
#[must_use]
pub fn parse_port(text: &str) -> Option<u16> {
    // Rust's numbers may have a sign.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_digits() {
        for (text, port) in [("0", 0), ("80", 80), ("0080", 80), ("65535", 65535)] {
            assert_eq!(parse_port(text), Some(port), "{text}");
        }
        for bad in ["", "+80", "-1", "65536", "80 ", "0x50"] {
            assert_eq!(parse_port(bad), None, "{bad}");
        }
    }
}
