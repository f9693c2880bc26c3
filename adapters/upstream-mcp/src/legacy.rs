//! Requests that only the eras before 2026-07-28 have.

#![expect(deprecated, reason = "rmcp has them for the legacy eras")]

use rmcp::model::{
    ClientRequest, LoggingLevel, SetLevelRequest, SetLevelRequestParams, SubscribeRequest,
    SubscribeRequestParams, UnsubscribeRequest, UnsubscribeRequestParams,
};

/// Returns `logging/setLevel`, for the level that legacy clients are served here.
pub(crate) fn set_level_to_info() -> ClientRequest {
    ClientRequest::SetLevelRequest(SetLevelRequest::new(SetLevelRequestParams::new(LoggingLevel::Info)))
}

/// Returns `resources/subscribe`.
pub(crate) fn subscribe(uri: &str) -> ClientRequest {
    ClientRequest::SubscribeRequest(SubscribeRequest::new(SubscribeRequestParams::new(uri)))
}

/// Returns `resources/unsubscribe`.
pub(crate) fn unsubscribe(uri: &str) -> ClientRequest {
    ClientRequest::UnsubscribeRequest(UnsubscribeRequest::new(UnsubscribeRequestParams::new(uri)))
}
