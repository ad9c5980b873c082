//! What must be true of a machine, what to do to it, and how to take it back: facts in, findings and steps out.
//!
//! This crate decides and refuses to act: it has no clock, file, socket or process. `plan` is what `--dry-run`
//! prints and what a join performs; there is no third path.

pub mod checks;
mod cluster_dns;
mod control_plane;
mod facts;
mod finding;
mod flags_env;
mod kubelet_conf;
mod kubelet_config;
mod node_ip;
mod node_labels;
pub mod paths;
mod phases;
mod plan;
mod repair;
mod request;
mod reset;
mod secrets;
mod step;
mod unit;

pub use control_plane::{
    CONTROL_PLANE_TAINT, ControlPlaneError, ControlPlaneRequest, control_plane_paths,
};
pub use facts::{
    CgroupFact, CriSocket, DiskFact, Facts, FileFact, Interface, KernelConfig, Route, RuntimeFact,
    ServiceManager, Unanswered, UnitFact,
};
pub use finding::{Finding, IgnoreError, IgnoreSet, Severity, path_id};
pub use flags_env::flags_env;
pub use kubelet_conf::kubelet_conf;
pub use kubelet_config::{KubeletConfigError, instance_config, kubelet_config};
pub use node_labels::{LabelError, label_command, may_node_set, parse_annotations, parse_labels};
pub use phases::{Part, Phase, TURN};
pub use plan::{
    Plan, PlanError, PlannedStep, StepContent, definition_of, findings_with_cluster, plan,
};
pub use repair::{RepairFiles, repairs};
pub use request::{
    ClusterAnswers, JoinRequest, Kubelet, KubeletPreference, NodeIp, Parameters, Runtime, Taint,
    TaintError, Wait,
};
pub use reset::{
    Evidence, ForeignPlan, Purge, ResetPlan, ResetWishes, StackedMember, chains_removal,
    etcd_client_urls, foreign_node, is_foreign_table, network_link, optional_purges,
    reset_without_journal,
};
pub use secrets::{SecretBag, SecretName};
pub use step::{Actor, ComponentHealth, Process, Step};
pub use unit::{UNIT_MARK, muster_kubelet_unit};
