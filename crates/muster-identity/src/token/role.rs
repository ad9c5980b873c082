//! Whom a join token lets in: [`JoinRole`].
//!
//! It refuses to know what a node of that role runs.

use std::fmt;
use std::str::FromStr;

/// What a machine becomes with a join token of k0s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JoinRole {
    /// A node; its token is shown to kube-apiserver.
    Worker,
    /// A member of the control plane; its token is shown to the join API of k0s and to nothing else.
    Controller,
}

/// Neither `worker` nor `controller`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a role is worker or controller")]
pub struct UnknownRole;

impl JoinRole {
    /// Both, in the order in which they are listed.
    pub const ALL: [Self; 2] = [Self::Worker, Self::Controller];

    /// `worker` or `controller`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Controller => "controller",
        }
    }

    /// The name of the user in the kubeconfig of a token: the only place where such a token says its role.
    pub const fn user_name(self) -> &'static str {
        match self {
            Self::Worker => "kubelet-bootstrap",
            Self::Controller => "controller-bootstrap",
        }
    }

    /// The role that goes with the name of a user.
    pub fn from_user_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.user_name() == name)
    }

    /// The port that a token of k0s leads to where nothing else is configured: kube-apiserver's, or the join API's.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Worker => 6443,
            Self::Controller => 9443,
        }
    }
}

impl fmt::Display for JoinRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for JoinRole {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut roles = Self::ALL.into_iter();
        roles.find(|role| role.as_str() == text).ok_or(UnknownRole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_user_names_lead_back_to_the_role() {
        for role in JoinRole::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
            assert_eq!(JoinRole::from_user_name(role.user_name()), Some(role));
        }
        assert_eq!("Worker".parse::<JoinRole>(), Err(UnknownRole));
        assert_eq!(JoinRole::from_user_name("kubernetes-admin"), None);
    }
}
