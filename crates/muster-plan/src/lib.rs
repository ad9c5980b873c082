//! muster-plan.
