//! The agent: keys that sign without leaving it.

use std::path::Path;
use std::time::Duration;

use russh::keys::agent::client::AgentClient;
use russh::keys::agent::{AgentIdentity, AgentSessionBinding};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// How long the agent may take to list its keys. (A signature may need a finger, and has the time of the login.)
const TO_LIST: Duration = Duration::from_secs(5);

/// An agent and the keys in it.
pub(super) struct Agent {
    pub(super) client: AgentClient<UnixStream>,
    pub(super) identities: Vec<AgentIdentity>,
}

impl Agent {
    /// Connects, tells it for which session it will sign, and lists its keys.
    ///
    /// # Errors
    /// In words for people.
    pub(super) async fn open(
        socket: &Path,
        session: Option<&AgentSessionBinding>,
    ) -> Result<Self, String> {
        let open = async {
            let mut client = AgentClient::connect_uds(socket).await?;
            if let Some(session) = session {
                // Agents that do not know the extension refuse it.
                let _ = client.bind_session(session, false).await;
            }
            let identities = client.request_identities().await?;
            Ok::<_, russh::keys::Error>(Self { client, identities })
        };
        match timeout(TO_LIST, open).await {
            Ok(Ok(agent)) => Ok(agent),
            Ok(Err(error)) => Err(format!("the agent at {}: {error}", socket.display())),
            Err(_) => Err(format!("the agent at {} does not answer", socket.display())),
        }
    }
}
