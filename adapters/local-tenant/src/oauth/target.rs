//! Which API a token is asked for.

use crate::model::directory::{ResourceParameterProfile, Settings};
use crate::oauth::error::OAuthError;
use crate::oauth::parameters::Parameters;

/// Returns the identifier of the API that a request names: Auth0's `audience`, or, where the tenant reads it, RFC 8707's
/// `resource`. With both, `audience` wins, as at Auth0.
///
/// # Errors
/// `invalid_target` if several resources are named, `invalid_request` if there are several audiences.
pub(crate) fn target<'a>(
    parameters: &'a Parameters,
    settings: &Settings,
) -> Result<Option<&'a str>, OAuthError> {
    let resource = match settings.resource_parameter_profile {
        ResourceParameterProfile::Audience => None,
        ResourceParameterProfile::Compatibility => parameters.one("resource").map_err(|_| {
            OAuthError::new("invalid_target", "a token is for one resource; the request names several")
        })?,
    };
    Ok(parameters.one("audience")?.or(resource))
}

/// Returns the identifier of the API that a token is for: the one that the request names, or the tenant's default.
///
/// # Errors
/// As of [`target`].
pub(crate) fn target_or_default<'a>(
    parameters: &'a Parameters,
    settings: &'a Settings,
) -> Result<Option<&'a str>, OAuthError> {
    let default = Some(settings.default_audience.as_str()).filter(|audience| !audience.is_empty());
    Ok(target(parameters, settings)?.or(default))
}
