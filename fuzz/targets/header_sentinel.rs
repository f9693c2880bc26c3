#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mcp_protocol::fuzzing::header_sentinel(data));
