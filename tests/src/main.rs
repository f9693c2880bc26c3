//! The end-to-end tests: one binary, so that the workspace links its dependencies once.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on says so by panicking")]
#![allow(
    unreachable_pub,
    reason = "nothing uses a test binary, so `pub` between its modules means just that"
)]
#![allow(clippy::needless_pass_by_value, reason = "callers write JSON literals")]

mod abuse;
mod access_log;
mod addresses;
mod admin;
mod architecture;
mod audit;
mod auth;
mod batches;
mod binary;
mod config_files;
mod configuration;
mod downstream_configuration;
mod drain;
mod explain;
mod first_steps;
mod guards;
mod harness;
mod hostile;
mod http;
mod icons;
mod identity_provider;
mod input_rounds;
mod key_server;
mod keys;
mod legacy;
mod limits;
mod listeners;
mod local_tenant;
mod login;
mod management;
mod methods;
mod modern;
mod oauth;
mod observing;
mod on_behalf_of;
mod online_checks;
mod overload;
mod own_configuration;
mod own_server;
mod pages;
mod properties;
mod quota;
mod real_clients;
mod replicas;
mod restart;
mod rules;
mod scopes;
mod streams;
mod tenant;
mod tenant_bounds;
mod tls;
mod token_exchange;
mod traces;
mod upstream_configuration;
mod upstreams;
mod upstreams_served;
mod wire;
