//! The target `known_hosts`; see `src/targets.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| muster_fuzz::known_hosts(bytes));
