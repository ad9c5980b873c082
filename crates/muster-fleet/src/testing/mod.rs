//! A simulated cluster beside the simulated host: it lets a node in, signs, and shows a Node when a kubelet runs.

mod cluster;

pub use cluster::SimCluster;
