//! The fuzz targets as a library, so that what the fuzzer runs and what ordinary tests run is the same.

mod targets;

pub use targets::*;
