//! What to do now, for each [`MachineError`]: one line, with the exact command where there is one.

use super::MachineError;
use crate::script::quoted;

impl MachineError {
    /// What to do now: one line for people.
    pub fn cure(&self) -> String {
        match self {
            Self::NameUnknown { .. } => {
                "Check the spelling and the resolver, or give the address.".to_owned()
            }
            Self::Unreachable { .. } => "Check address, routes and firewalls; a machine behind a jump host needs `ProxyJump`.".to_owned(),
            Self::Refused { .. } => "Check the port (22 is usual) and that sshd runs there.".to_owned(),
            Self::TimedOut { .. } => "Check that the machine is not overloaded and that nothing on the way drops packets.".to_owned(),
            Self::ConnectionLost { .. } => "Try again; if it stays, look into the log of sshd there.".to_owned(),
            Self::Protocol { .. } => "Check host and port: something else than sshd may listen there.".to_owned(),
            Self::JumpFailed { source, .. } => source.cure(),
            Self::ProxyCommandFailed { .. } => {
                "Run the ProxyCommand by hand; it must connect its standard input and output to sshd.".to_owned()
            }
            Self::SettingsUnusable { host, .. } => {
                format!("See `ssh -G {}`, and mend the setting.", quoted(host))
            }
            Self::HostKeyUnknown { file, line, .. } => format!(
                "Compare the fingerprint with the machine's own (`ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub` there), then: echo {} >> {}",
                quoted(line),
                quoted(&file.to_string_lossy())
            ),
            Self::HostKeyChanged { host, file, .. } => format!(
                "Find out why before anything else: somebody may be in between. If the machine was really set up anew: ssh-keygen -f {} -R {}",
                quoted(&file.to_string_lossy()),
                quoted(host)
            ),
            Self::HostKeyRevoked { .. } => {
                "Do not connect. The machine needs a new host key; nobody may use this one any more.".to_owned()
            }
            Self::HostCertificateInvalid { .. } => {
                "Have the authority issue a new host certificate for this name.".to_owned()
            }
            Self::KnownHostsUnusable { file, .. } => {
                format!("Look at {}: rights, and that it is a file.", file.display())
            }
            Self::AuthenticationFailed { user, .. } => format!(
                "Add your key to the agent (`ssh-add`), or put its public half into ~{user}/.ssh/authorized_keys there."
            ),
            Self::SudoPasswordNeeded { user, .. } => format!(
                "Give the sudo password, or let {user} do without one there: a line `{user} ALL=(ALL) NOPASSWD: ALL` by visudo."
            ),
            Self::SudoPasswordWrong { .. } => "Give the right sudo password for this user.".to_owned(),
            Self::SudoNotAllowed { user, .. } => {
                format!("Let {user} use sudo there (`visudo`), or connect as root.")
            }
            Self::SudoFailed { .. } => "Install or mend sudo there, or connect as root.".to_owned(),
            Self::CommandNotFound { program, .. } => {
                format!("Install {program} there, or give its whole path.")
            }
            Self::SessionRefused { .. } => {
                "Look at MaxSessions and forced commands in the configuration of sshd there.".to_owned()
            }
            Self::UploadFailed { .. } => {
                "Check the rights and the room of the file system there.".to_owned()
            }
            Self::UploadCorrupt { .. } => {
                "Try again; if it stays, check the disk of the machine.".to_owned()
            }
            Self::LocalFailed { .. } => "Mend the cause on this machine.".to_owned(),
        }
    }
}
