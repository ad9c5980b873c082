//! Machines over SSH, tried.
