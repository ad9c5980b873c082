//! muster-fleet.
