//! OAuth parameters in a query or a form (RFC 6749 appendix B).

use std::collections::BTreeMap;

use syntax::strict_json;
use url::form_urlencoded;

/// The parameters in their order.
pub(crate) struct Parameters(Vec<(String, String)>);

/// The error for a repeated parameter, which RFC 6749 section 3.1 forbids.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Repeated(pub(crate) &'static str);

impl Parameters {
    /// Parses a query or a form body. Parameters without a value are omitted.
    pub(crate) fn parse(encoded: &[u8]) -> Self {
        let pairs = form_urlencoded::parse(encoded);
        // RFC 6749 section 3.1: a parameter without a value counts as omitted.
        let pairs = pairs.filter(|(_, value)| !value.is_empty());
        Self(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// Parses a JSON object of texts, which Auth0's token endpoint takes as well; `None` if it is something else. Members
    /// without a text are omitted, as parameters without a value are.
    pub(crate) fn parse_json(body: &[u8]) -> Option<Self> {
        let members: BTreeMap<String, Option<String>> = strict_json::parse(body).ok()?;
        let members = members.into_iter().filter_map(|(name, value)| Some((name, value?)));
        Some(Self(members.filter(|(_, value)| !value.is_empty()).collect()))
    }

    /// Returns the parameter's value, if the parameter is present.
    ///
    /// # Errors
    /// [`Repeated`] if it occurs more than once.
    pub(crate) fn one(&self, name: &'static str) -> Result<Option<&str>, Repeated> {
        let mut values = self.0.iter().filter(|(found, _)| found == name);
        match (values.next(), values.next()) {
            (Some(_), Some(_)) => Err(Repeated(name)),
            (value, _) => Ok(value.map(|(_, value)| value.as_str())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_json_object_of_texts_has_parameters_as_a_form_has() {
        let parameters = Parameters::parse_json(br#"{"a": "1", "b": "", "c": null}"#).unwrap();
        assert_eq!(parameters.one("a"), Ok(Some("1")));
        assert_eq!((parameters.one("b"), parameters.one("c")), (Ok(None), Ok(None)));
        for bad in [&b"[]"[..], br#"{"a": 1}"#, br#"{"a": "1", "a": "2"}"#, b"a=1"] {
            assert!(Parameters::parse_json(bad).is_none(), "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn a_parameter_is_there_once_or_not_at_all() {
        let parameters = Parameters::parse(b"a=1&b=&c=x+y%26&a=2&d=%ff");
        assert_eq!(parameters.one("a"), Err(Repeated("a")));
        assert_eq!(parameters.one("b"), Ok(None));
        assert_eq!(parameters.one("c"), Ok(Some("x y&")));
        assert_eq!(parameters.one("d"), Ok(Some("\u{fffd}")));
        assert_eq!(parameters.one("e"), Ok(None));
    }
}
