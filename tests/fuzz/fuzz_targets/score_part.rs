#![no_main]

libfuzzer_sys::fuzz_target!(|content: &[u8]| { let _ = fuzz::formats::score_part(content); });
