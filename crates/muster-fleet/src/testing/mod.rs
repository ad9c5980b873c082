//! A simulated cluster beside the simulated host: it lets a node in, signs, and shows a Node when a kubelet runs; with a
//! control plane of etcds, objects and components for nodes that join that.

mod cluster;
mod control_plane;
mod etcds;
mod objects;

pub use cluster::SimCluster;
pub use control_plane::{ClusterState, Deed};
