//! `JoinTokenRequest`s become join tokens: each gets a bootstrap token in the cluster that it names, and a Secret with
//! the token in the form that machines take.
//!
//! What to do is decided in `decide`, one step at a time, from what watches have shown; what is done can be repeated.
//! The API of the target cluster is all that is used of it. This is the controller of `muster operator`, and no part of
//! what runs beside the embedded server.

mod announce;
mod debt;
mod decide;
mod definition;
mod flavour;
mod hands;
mod lease;
mod manifests;
mod metrics;
pub mod names;
mod operator;
mod reference;
mod request;
mod served;
mod status;
mod target_client;
mod targets;
mod worker;
mod world;

pub use definition::definition;
pub use manifests::{Deployed, manifests};
pub use operator::{Operator, OperatorSettings};
