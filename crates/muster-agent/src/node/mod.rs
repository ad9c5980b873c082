//! What a node tells the cluster of itself: its object, its conditions, its lease. All pure.

pub mod conditions;
pub mod lease;
pub mod object;
