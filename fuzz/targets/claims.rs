#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| auth0_verifier::fuzzing::claims(data));
