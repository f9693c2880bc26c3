#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hyper_transport::fuzzing::authorization_header(data));
