//! muster-controllers.
