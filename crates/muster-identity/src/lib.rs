//! muster-identity.
