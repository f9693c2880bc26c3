//! What must hold for any bytes: called by the fuzz targets of `fuzz/` and by tests. It is in no other build.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::fields::decoded;

/// A header field's value: what is in the sentinel is one text in one spelling, and everything else is itself.
///
/// # Panics
/// When an invariant does not hold.
pub fn header_sentinel(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let wrapped = |text: &str| format!("=?base64?{}?=", STANDARD.encode(text));
    assert_eq!(decoded(&wrapped(text)).as_deref(), Some(text));
    match decoded(text) {
        Some(plain) if plain == text => {}
        Some(plain) => assert_eq!(wrapped(&plain), text, "two spellings of one text"),
        None => assert!(text.starts_with("=?base64?") && text.ends_with("?=")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_seeds_hold() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/header_sentinel");
        for seed in std::fs::read_dir(folder).unwrap() {
            header_sentinel(&std::fs::read(seed.unwrap().path()).unwrap());
        }
    }

    proptest! {
        #[test]
        fn any_text_holds(text in ".{0,40}", inside in "[A-Za-z0-9+/=?-]{0,12}") {
            header_sentinel(text.as_bytes());
            header_sentinel(format!("=?base64?{inside}?=").as_bytes());
        }
    }
}
