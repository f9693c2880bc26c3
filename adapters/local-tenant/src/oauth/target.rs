//! Which API a token is asked for.

use crate::oauth::error::OAuthError;
use crate::oauth::parameters::Parameters;

/// Returns the identifier of the API that a token is asked for: RFC 8707's `resource`, or Auth0's `audience`, which means
/// the same.
///
/// # Errors
/// `invalid_target` if several are named.
pub(crate) fn target(parameters: &Parameters) -> Result<Option<&str>, OAuthError> {
    let several =
        || OAuthError::new("invalid_target", "a token is for one resource; the request names several");
    let resource = parameters.one("resource").map_err(|_| several())?;
    match (resource, parameters.one("audience")?) {
        (Some(resource), Some(audience)) if resource != audience => Err(several()),
        (resource, audience) => Ok(resource.or(audience)),
    }
}
