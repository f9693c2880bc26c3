//! Nothing: the tests are in main.rs. Cargo wants every package to have a target that is no test.
