//! key_server
