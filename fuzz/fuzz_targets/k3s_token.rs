//! The target `k3s_token`; see `src/targets.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| muster_fuzz::k3s_token(bytes));
