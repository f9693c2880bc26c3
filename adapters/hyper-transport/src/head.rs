//! The head of a request: its size, and the fields that requests are judged by.

use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Uri};
use mcp_protocol::{Field, RequestFields};

use crate::problem::Problem;

/// The maximum number of header fields of a request; hyper keeps to it in HTTP/1.1. In HTTP/2 a field can be one byte on the
/// wire (RFC 7541) and many in memory.
const MAX_FIELDS: usize = 100;

/// A field of which a request has one at most, or means nothing that everybody understands alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Single<'h> {
    #[default]
    Absent,
    Once(&'h HeaderValue),
    Repeated,
}

impl<'h> Single<'h> {
    fn add(&mut self, value: &'h HeaderValue) {
        *self = if *self == Self::Absent { Self::Once(value) } else { Self::Repeated };
    }
}

/// The header fields that requests are judged by, found in one pass: to look one up is to hash its name, and most of them are
/// absent.
#[derive(Debug)]
pub(crate) struct Fields<'h> {
    all: &'h HeaderMap,
    /// The size of all fields, in bytes.
    bytes: usize,
    pub(crate) accept: Single<'h>,
    pub(crate) authorization: Single<'h>,
    pub(crate) content_encoding: Single<'h>,
    pub(crate) content_type: Single<'h>,
    pub(crate) expect: Single<'h>,
    pub(crate) host: Single<'h>,
    pub(crate) origin: Single<'h>,
    pub(crate) request_id: Single<'h>,
    pub(crate) transfer_encoding: Single<'h>,
    mcp_method: Single<'h>,
    mcp_name: Single<'h>,
    mcp_protocol_version: Single<'h>,
}

impl<'h> Fields<'h> {
    pub(crate) fn of(all: &'h HeaderMap) -> Self {
        let mut fields = Self {
            all,
            bytes: 0,
            accept: Single::Absent,
            authorization: Single::Absent,
            content_encoding: Single::Absent,
            content_type: Single::Absent,
            expect: Single::Absent,
            host: Single::Absent,
            origin: Single::Absent,
            request_id: Single::Absent,
            transfer_encoding: Single::Absent,
            mcp_method: Single::Absent,
            mcp_name: Single::Absent,
            mcp_protocol_version: Single::Absent,
        };
        for (name, value) in all {
            let name = name.as_str();
            fields.bytes += name.len() + value.len() + 4;
            if let Some(field) = fields.named(name) {
                field.add(value);
            }
        }
        fields
    }

    fn named(&mut self, name: &str) -> Option<&mut Single<'h>> {
        Some(match name {
            "accept" => &mut self.accept,
            "authorization" => &mut self.authorization,
            "content-encoding" => &mut self.content_encoding,
            "content-type" => &mut self.content_type,
            "expect" => &mut self.expect,
            "host" => &mut self.host,
            "mcp-method" => &mut self.mcp_method,
            "mcp-name" => &mut self.mcp_name,
            "mcp-protocol-version" => &mut self.mcp_protocol_version,
            "origin" => &mut self.origin,
            "transfer-encoding" => &mut self.transfer_encoding,
            "x-request-id" => &mut self.request_id,
            _ => return None,
        })
    }

    /// Returns every field.
    pub(crate) const fn all(&self) -> &'h HeaderMap {
        self.all
    }

    /// Returns the size of the head, in bytes.
    pub(crate) fn head_bytes(&self, method: &Method, target: &Uri) -> usize {
        let target = target.path_and_query().map_or(0, |target| target.as_str().len());
        // Methods are names that a client may make up.
        method.as_str().len() + target + self.bytes
    }

    /// Checks the head's size: hyper bounds its buffer, which is larger than a head may be.
    ///
    /// # Errors
    /// [`Problem::HeadTooLarge`].
    pub(crate) fn check_head_size(&self, head: &Parts, limit: usize) -> Result<(), Problem> {
        if self.head_bytes(&head.method, &head.uri) > limit || self.all.len() > MAX_FIELDS {
            Err(Problem::HeadTooLarge { limit })
        } else {
            Ok(())
        }
    }
}

impl RequestFields for Fields<'_> {
    fn field(&self, name: &str) -> Field<'_> {
        let field = match name {
            "mcp-method" => self.mcp_method,
            "mcp-name" => self.mcp_name,
            "mcp-protocol-version" => self.mcp_protocol_version,
            // Those of tools' own arguments.
            _ => {
                let mut field = Single::Absent;
                self.all.get_all(name).iter().for_each(|value| field.add(value));
                field
            }
        };
        match field {
            Single::Absent => Field::Absent,
            Single::Once(value) => value.to_str().map_or(Field::Malformed, Field::Value),
            Single::Repeated => Field::Malformed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_absent_or_there_once_or_repeated_whatever_stands_between() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "one"),
            ("mcp-name", "greet"),
            ("origin", "https://one.example"),
            ("mcp-param-city", "Bern"),
            ("host", "one"),
            ("mcp-method", "tools/call"),
            ("mcp-name", "whoami"),
            ("mcp-param-city", "Basel"),
            ("mcp-param-name", "Ada"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let fields = Fields::of(&headers);
        assert_eq!((fields.host, fields.accept), (Single::Repeated, Single::Absent));
        assert_eq!(fields.origin, Single::Once(&HeaderValue::from_static("https://one.example")));
        for (name, expected) in [
            ("mcp-method", Field::Value("tools/call")),
            ("mcp-name", Field::Malformed),
            ("mcp-protocol-version", Field::Absent),
            ("mcp-param-name", Field::Value("Ada")),
            ("mcp-param-city", Field::Malformed),
            ("mcp-param-country", Field::Absent),
        ] {
            assert_eq!(fields.field(name), expected, "{name}");
        }
    }

    #[test]
    fn the_size_of_a_head_is_that_of_all_of_it() {
        let mut headers = HeaderMap::new();
        headers.append("host", HeaderValue::from_static("a"));
        headers.append("x", HeaderValue::from_static("12"));
        headers.append("x", HeaderValue::from_static("3"));
        let bytes = Fields::of(&headers).head_bytes(&Method::POST, &Uri::from_static("http://a/mcp?q=1"));
        assert_eq!(
            bytes,
            "POST".len() + "/mcp?q=1".len() + "host: a\r\n".len() + "x: 12\r\n".len() + "x: 3\r\n".len()
        );
    }
}
