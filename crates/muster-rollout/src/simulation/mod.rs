//! The coordinator in a world of its own: simulated hosts and API server, a virtual clock, and whatever can go wrong,
//! from one seed.
//!
//! The same [`crate::Rollout`] as in earnest; only its driver, its hosts and its cluster are made up. After every event
//! the `watch` looks whether anything happened that must never happen, and at the end whether the world is as the
//! verdict says. Nothing sleeps. It refuses to know real hosts, times and chance.
//!
//! Where to read: `scene` (what is played), `weather` (what goes wrong), `world` (what is true), `play` (the driver, with
//! its crashes), `watch` (what must never happen).

mod play;
mod scene;
mod watch;
mod weather;
mod world;

pub use play::{Report, play};
pub use scene::{Crash, Scene};
pub use watch::Violation;
pub use weather::Weather;

#[cfg(test)]
mod tests;
