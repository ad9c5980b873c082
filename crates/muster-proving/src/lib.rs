//! The scenery of the stories that span crates: a whole cluster in one process, on a real store, with
//! real controllers and real TLS. The stories themselves are in `tests/it`. Nothing here is shipped.
//!
//! It refuses to know what is proved with it.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "scenery that does not stand fails the story"
)]

mod credentials;
mod manifests;
mod patience;
mod world;

pub use credentials::{below, csr, key, node_credential, random};
pub use manifests::{node, owner, request, token};
pub use patience::{STORY, in_time, until};
pub use world::{Closed, Scenery, World};
