//! The target `k0s_token`; see `src/targets.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| muster_fuzz::k0s_token(bytes));
