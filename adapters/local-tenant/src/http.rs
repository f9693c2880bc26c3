//! HTTP messages: bodies that come in, responses and errors that go out.

pub(crate) mod body;
pub(crate) mod problem;
pub(crate) mod response;
