//! muster-apiserver.
