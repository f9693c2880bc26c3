//! The control endpoints: a token without a login, for the `token` command, and faults on demand; and the command's side of
//! it. Commands on this machine reach them, web pages do not: the router refuses requests with an `Origin`.

pub mod client;
pub(crate) mod faults;
pub(crate) mod token;

use serde::de::DeserializeOwned;
use syntax::strict_json;

use crate::http::problem::Problem;

/// Deserializes the body of a control request.
///
/// # Errors
/// [`Problem::BadRequest`], which names the expected `shape`.
fn parse<T: DeserializeOwned>(body: &[u8], shape: &str) -> Result<T, Problem> {
    strict_json::parse(body)
        .map_err(|error| Problem::BadRequest(format!("the body is {shape} as JSON: {error}")))
}
