#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| syntax::fuzzing::strict_json(data));
