#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| domain::fuzzing::scope_string(data));
