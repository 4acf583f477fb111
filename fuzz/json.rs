//! Looks for records that the JSON reader and the second reading of its tests do not read alike.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| hydrant::format::json::compare_readings(input));
