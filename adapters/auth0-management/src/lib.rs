//! A client of the Management API v2.
