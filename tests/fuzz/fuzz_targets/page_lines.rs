#![no_main]

libfuzzer_sys::fuzz_target!(init: fuzz::let_guarded_panics_pass(), |content: &[u8]| { let _ = fuzz::formats_of_prepare::page_lines(content); });
