//! The size of a request's head.

use hyper::http::request::Parts;

use crate::problem::Problem;

/// The maximum number of header fields of a request; hyper keeps to it in HTTP/1.1. In HTTP/2 a field can be one byte on the
/// wire (RFC 7541) and many in memory.
const MAX_FIELDS: usize = 100;

/// Returns the size of a request's head, in bytes.
pub(crate) fn head_bytes(head: &Parts) -> usize {
    let fields: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    let target = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
    // Methods are names that a client may make up.
    head.method.as_str().len() + target + fields
}

/// Checks a head of this size: hyper bounds its buffer, which is larger than a head may be.
///
/// # Errors
/// [`Problem::HeadTooLarge`].
pub(crate) fn check_head_size(head: &Parts, bytes: usize, limit: usize) -> Result<(), Problem> {
    if bytes > limit || head.headers.len() > MAX_FIELDS {
        Err(Problem::HeadTooLarge { limit })
    } else {
        Ok(())
    }
}
