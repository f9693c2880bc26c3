#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| local_tenant::fuzzing::oauth_form(data));
