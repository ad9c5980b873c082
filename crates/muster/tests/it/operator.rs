//! `muster operator` as its users run it: requests through kubectl, tokens that let somebody in or do not.

mod clusters;
mod crowds;
mod requests;
mod rig;

use crate::harness::{muster, stdout_of};

#[test]
fn the_manifests_are_those_of_the_code() {
    let printed = stdout_of(muster(&["operator", "manifests"]));
    let kept = include_str!("../../../../deploy/operator.yaml");
    assert_eq!(
        kept.trim_end(),
        printed,
        "write it anew: muster operator manifests > deploy/operator.yaml"
    );
}
