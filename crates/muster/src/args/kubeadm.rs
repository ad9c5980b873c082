//! Commands that are kubeadm's word for word: `muster config …`, `certs`, `kubeconfig`, `init phase`.
//!
//! Their flags are read where kubeadm's are read, so that both names answer alike.

use clap::Args;

/// The words behind the command, as kubeadm takes them.
#[derive(Args, Clone, Debug)]
#[command(disable_help_flag = true)]
pub(crate) struct AsKubeadm {
    /// Sub-commands and flags; `--help` lists them
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGUMENTS"
    )]
    pub(crate) words: Vec<String>,
}
