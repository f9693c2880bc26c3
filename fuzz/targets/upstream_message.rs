#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| upstream_mcp::fuzzing::upstream_message(data));
