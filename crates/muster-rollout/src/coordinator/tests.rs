//! The coordinator at work, one behaviour at a time. What holds in all weathers is proved by the simulation.

mod control_planes;
mod desk;
mod failures;
mod interrupts;
mod places;
mod policies;
mod resuming;
mod tokens;
mod undoing;
