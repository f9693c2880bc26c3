//! The ports of the domain, for tests: what a test scripts is what happens, and time stands still until it is moved.
//!
//! Nothing here panics on a poisoned lock or waits for real time.

mod clock;
mod tool;
mod tracer;
mod verifier;

pub use clock::ManualClock;
pub use tool::{Behaviour, RecordingTool};
pub use tracer::RecordingTracer;
pub use verifier::{ScriptedVerifier, claims};
