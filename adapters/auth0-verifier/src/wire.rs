//! Reading JSON objects exactly: what serde's conveniences would let pass is refused.

use serde::{Deserialize, Deserializer};

/// Reads one JSON object. A derived `Deserialize` would also take an array of the members' values.
pub(crate) fn object<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Option<T> {
    if json.trim_ascii_start().first() != Some(&b'{') {
        return None;
    }
    serde_json::from_slice(json).ok()
}

/// A member that is there, `null` included: `Option` alone would take `null` for absence. For `#[serde(default, deserialize_with = "present")]`.
pub(crate) fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    input: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(input).map(Some)
}
