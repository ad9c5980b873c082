//! muster-saga.
