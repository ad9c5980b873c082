//! muster-handshake.
