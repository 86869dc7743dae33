#![no_main]

libfuzzer_sys::fuzz_target!(|content: &[u8]| { let _ = fuzz::formats::overlap_filter(content); });
