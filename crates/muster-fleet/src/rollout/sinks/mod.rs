//! Listeners to the events of a run beyond the terminal: Kubernetes Events on the Nodes, a webhook, OpenTelemetry spans.

mod kubernetes;
mod spans;
mod webhook;

pub(crate) use kubernetes::NodeEvents;
pub use spans::Spans;
pub use webhook::Webhook;
