#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| jwks_verifier::fuzzing::jws(data));
