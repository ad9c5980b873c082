//! The program as its users run it: real processes, real kubectl, real TLS. One binary for all stories.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on panics"
)]

mod admission;
mod bench;
mod control_plane_resets;
mod control_planes;
mod crashes;
mod everyday;
mod fleet_bed;
mod fleet_machines;
mod fleet_planes;
mod fleets;
mod harness;
mod informers;
mod join_config;
mod joining;
mod k0s_tokens;
mod kubeadm_face;
mod nodes;
mod operator;
mod plane;
mod playground;
mod reference;
mod refusals;
mod secrets;
mod tokens;
mod ways_in;
