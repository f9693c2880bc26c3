//! The end-to-end tests: one binary, so that the workspace links its dependencies once.

mod key_server;
mod keys;
mod local_tenant;
