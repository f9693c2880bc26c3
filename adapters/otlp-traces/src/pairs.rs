//! Lists of `name=value` as OpenTelemetry's variables have them (`OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_RESOURCE_ATTRIBUTES`):
//! separated by commas, values percent-encoded.

use std::fmt;

use percent_encoding::percent_decode_str;
use ureq::http::header::{self, HeaderName, HeaderValue};

/// The header fields of a request; their values are secrets.
#[derive(Clone, Default)]
pub struct Headers(Vec<(HeaderName, HeaderValue)>);

/// What spans are of, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes(Vec<(String, String)>);

/// Why a list is none. It repeats nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PairsError {
    /// An item is no pair.
    #[error("must be a list of name=value, separated by commas")]
    Pair,
    /// A value is not percent-encoded text.
    #[error("has a value that is no percent-encoded text")]
    Encoding,
    /// There is no such header field.
    #[error("has a name or a value that fits no header field")]
    Field,
    /// The request sets the field.
    #[error("names a field that the request sets by itself")]
    Reserved,
}

/// The fields that the request sets.
const RESERVED: [HeaderName; 6] = [
    header::HOST,
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
];

impl Headers {
    /// Reads a list of header fields.
    ///
    /// # Errors
    /// [`PairsError`].
    pub fn parse(text: &str) -> Result<Self, PairsError> {
        let field = |(name, value): (&str, String)| {
            let name: HeaderName = name.parse().map_err(|_| PairsError::Field)?;
            if RESERVED.contains(&name) {
                return Err(PairsError::Reserved);
            }
            let mut value = HeaderValue::from_str(&value).map_err(|_| PairsError::Field)?;
            value.set_sensitive(true);
            Ok((name, value))
        };
        Ok(Self(pairs(text)?.into_iter().map(field).collect::<Result<_, _>>()?))
    }

    /// Returns whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.0.iter().map(|(name, value)| (name, value))
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl Attributes {
    /// Reads a list of attributes.
    ///
    /// # Errors
    /// [`PairsError`].
    pub fn parse(text: &str) -> Result<Self, PairsError> {
        Ok(Self(pairs(text)?.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()))
    }

    /// Sets an attribute, unless it has a value already.
    #[must_use]
    pub fn or(mut self, name: &str, value: &str) -> Self {
        if !self.0.iter().any(|(present, _)| present == name) {
            self.0.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// Sets an attribute, whatever value it has.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.0.retain(|(present, _)| present != name);
        self.or(name, value)
    }

    /// Returns the attributes.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

fn pairs(text: &str) -> Result<Vec<(&str, String)>, PairsError> {
    let pair = |item: &'_ str| -> Result<(usize, String), PairsError> {
        let (name, value) = item.split_once('=').ok_or(PairsError::Pair)?;
        if name.trim().is_empty() {
            return Err(PairsError::Pair);
        }
        let value = percent_decode_str(value.trim()).decode_utf8().map_err(|_| PairsError::Encoding)?;
        Ok((name.len(), value.into_owned()))
    };
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    items.map(|item| pair(item).map(|(end, value)| (item[..end].trim(), value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_as_the_standard_has_it() {
        let read = |text: &str| {
            let read = Attributes::parse(text)?;
            Ok(read.iter().map(|(name, value)| format!("{name}:{value}")).collect::<Vec<_>>().join(" "))
        };
        for (text, expected) in [
            ("", Ok("")),
            ("a=b", Ok("a:b")),
            (" a = b , c=d%20e%2C=,", Ok("a:b c:d e,=")),
            ("a=b=c", Ok("a:b=c")),
            ("a=", Ok("a:")),
            ("a", Err(PairsError::Pair)),
            ("=a", Err(PairsError::Pair)),
            ("a=%ff", Err(PairsError::Encoding)),
        ] {
            assert_eq!(read(text), expected.map(str::to_owned), "{text}");
        }
    }

    #[test]
    fn header_fields_are_shown_without_their_values() {
        let headers = Headers::parse("api-key=canary,Authorization=Bearer%20canary").unwrap();
        assert_eq!(format!("{headers:?}"), r#"["api-key", "authorization"]"#);
        assert!(headers.iter().all(|(_, value)| value.is_sensitive()));
        assert_eq!(headers.iter().nth(1).unwrap().1, "Bearer canary");
        for (text, expected) in [
            ("a b=c", PairsError::Field),
            ("a=%0a", PairsError::Field),
            ("Content-Type=text/plain", PairsError::Reserved),
            ("host=x", PairsError::Reserved),
        ] {
            assert_eq!(Headers::parse(text).unwrap_err(), expected, "{text}");
        }
    }

    #[test]
    fn attributes_have_one_value_each() {
        let attributes =
            Attributes::parse("service.name=a,b=c").unwrap().or("service.name", "d").or("e", "f");
        let attributes = attributes.with("b", "g");
        let all: Vec<_> = attributes.iter().collect();
        assert_eq!(all, [("service.name", "a"), ("e", "f"), ("b", "g")]);
    }
}
