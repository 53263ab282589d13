#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| layerstack_fuzz::ops_memory::check(bytes));
