//! muster-machinery.
