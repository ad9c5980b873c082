//! Tokens by `kubeadm token create --print-join-command` on a control-plane host.
//!
//! The order goes over standard input, so that no token stands on a command line. What is printed says where the
//! cluster is and whom to pin, unless that was configured.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use muster_identity::{Secret, TokenId};
use muster_rollout::StageFailure;
use muster_ssh::{Command, Machine};

use super::join_command::JoinCommand;
use super::{Admission, Cluster, GROUPS, Order};
use crate::rollout::fault;

/// How long one command may take.
const LIMIT: Duration = Duration::from_secs(60);
/// The configuration's version depends on kubeadm's: v1beta4 came with 1.31. With a version of Kubernetes in it nobody is
/// asked for one over the internet. `$0` is the program, the rest its flags.
const CREATE: &str = r#"k=$("$0" version -o short) || exit 1
case "$k" in v1.2[2-9].*|v1.30.*) a=v1beta3;; *) a=v1beta4;; esac
sed "s/@VERSION@/$a/; s/@KUBERNETES@/$k/" | "$0" token create --config /dev/stdin --print-join-command "$@""#;
/// Uploads the shared certificates anew and prints their key on a line of its own.
const UPLOAD: &str = r#""$0" init phase upload-certs --upload-certs "$@""#;

/// `kubeadm` on a control-plane host.
#[derive(Clone, Debug)]
pub(crate) struct KubeadmMint {
    /// The host.
    pub(crate) machine: Arc<dyn Machine>,
    /// The program there.
    pub(crate) program: String,
    /// `--kubeconfig`, where it is not kubeadm's own.
    pub(crate) kubeconfig: Option<String>,
    /// Whether the certificates for control-plane nodes are uploaded with every token.
    pub(crate) upload_certificates: bool,
}

impl KubeadmMint {
    fn script(&self, script: &str) -> Command {
        let mut argv = vec!["sh", "-c", script, &self.program];
        if let Some(kubeconfig) = &self.kubeconfig {
            argv.extend(["--kubeconfig", kubeconfig]);
        }
        Command::new(argv).as_root().time_limit(LIMIT)
    }

    /// Makes the token that was ordered.
    pub(crate) async fn make(
        &self,
        order: &Order,
        cluster: &Cluster,
    ) -> Result<Admission, StageFailure> {
        let asked_at = Timestamp::now();
        let configuration = configuration(order);
        let create = self.script(CREATE).stdin(configuration);
        let printed = Secret::new(self.run(create, "create the token").await?);
        let command = JoinCommand::parse(printed.expose()).map_err(|error| {
            StageFailure::terminal(
                fault::ids::TOKEN_NOT_MINTED,
                format!(
                    "what kubeadm printed on {} is no join command: {error}",
                    self.machine.name()
                ),
            )
            .with_cure("run it by hand there: kubeadm token create --print-join-command")
        })?;
        let certificate_key = match self.upload_certificates {
            true => Some(self.upload().await?),
            false => cluster.certificate_key.clone(),
        };
        Ok(Admission {
            expires: asked_at.checked_add(order.ttl).unwrap_or(Timestamp::MAX),
            endpoint: cluster.endpoint.clone().unwrap_or(command.endpoint),
            pins: if cluster.pins.is_empty() {
                command.pins
            } else {
                cluster.pins.clone()
            },
            token: command.token,
            ca: cluster.ca.clone(),
            k3s_ca_hash: cluster.k3s_ca_hash.clone(),
            certificate_key,
        })
    }

    async fn upload(&self) -> Result<Secret<String>, StageFailure> {
        let printed = Secret::new(
            self.run(self.script(UPLOAD), "upload the certificates")
                .await?,
        );
        let is_key = |line: &&str| line.len() == 64 && line.bytes().all(|b| b.is_ascii_hexdigit());
        let key = printed.expose().lines().map(str::trim).find(is_key);
        key.map(|key| Secret::new(key.to_owned())).ok_or_else(|| {
            StageFailure::terminal(
                fault::ids::TOKEN_NOT_MINTED,
                "kubeadm printed no certificate key",
            )
        })
    }

    /// Removes the token with this id; one that is not there is no error.
    pub(crate) async fn revoke(&self, id: &TokenId) -> Result<(), StageFailure> {
        let script = r#""$0" token delete "$@""#;
        let mut delete = self.script(script);
        delete.argv.push(id.to_string());
        let output = self
            .machine
            .output(delete)
            .await
            .map_err(|error| fault::of_machine(&error))?;
        if output.exit.success() || output.stderr.to_lowercase().contains("not found") {
            return Ok(());
        }
        Err(self.failed("delete the token", &output.stderr))
    }

    async fn run(&self, command: Command, what: &str) -> Result<String, StageFailure> {
        let output = self
            .machine
            .output(command)
            .await
            .map_err(|error| fault::of_machine(&error))?;
        if output.exit.success() {
            return Ok(output.stdout);
        }
        Err(self.failed(what, &output.stderr))
    }

    fn failed(&self, what: &str, stderr: &str) -> StageFailure {
        let told = fault::of_words(
            &format!("kubeadm on {} cannot {what}", self.machine.name()),
            stderr,
        );
        StageFailure {
            id: fault::ids::TOKEN_NOT_MINTED.to_owned(),
            token_refused: false,
            ..told
        }
        .with_cure("run it by hand there: kubeadm token create --print-join-command")
    }
}

/// Documents of `kubeadm.k8s.io`: JSON is YAML.
fn configuration(order: &Order) -> Secret<Vec<u8>> {
    let init = serde_json::json!({
        "apiVersion": "kubeadm.k8s.io/@VERSION@",
        "kind": "InitConfiguration",
        "bootstrapTokens": [{
            "token": order.token.to_text().expose(),
            "ttl": format!("{}s", order.ttl.as_secs()),
            "description": order.description,
            "usages": ["signing", "authentication"],
            "groups": [GROUPS[0]],
        }],
    });
    let cluster = serde_json::json!({
        "apiVersion": "kubeadm.k8s.io/@VERSION@",
        "kind": "ClusterConfiguration",
        "kubernetesVersion": "@KUBERNETES@",
    });
    Secret::new(format!("{init}\n---\n{cluster}\n").into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::scripted::{Scripted, says};
    use crate::rollout::token::tests::entropy;
    use jiff::SignedDuration;

    const PRINTED: &str = "kubeadm join 192.168.60.10:6443 --token new123.fresh4567890abcd --discovery-token-ca-cert-hash sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa \n";

    fn mint(machine: &Scripted) -> KubeadmMint {
        KubeadmMint {
            machine: Arc::new(machine.clone()),
            program: "kubeadm".to_owned(),
            kubeconfig: None,
            upload_certificates: false,
        }
    }

    fn id() -> TokenId {
        TokenId::parse("new123").unwrap()
    }

    fn order() -> Order {
        Order {
            token: crate::rollout::token::draw(&id(), entropy).unwrap(),
            ttl: SignedDuration::from_mins(30),
            description: "muster".to_owned(),
        }
    }

    #[tokio::test]
    async fn one_call_makes_the_token_and_the_address_comes_from_what_is_printed() {
        let machine = Scripted::new("cp");
        machine.on("token create", says(0, PRINTED));
        let admission = mint(&machine)
            .make(&order(), &Cluster::default())
            .await
            .unwrap();
        assert_eq!(machine.count("token create"), 1);
        assert_eq!(machine.calls().len(), 1);
        assert_eq!(admission.endpoint.to_string(), "192.168.60.10:6443");
        assert_eq!(
            admission.token.to_text().expose(),
            "new123.fresh4567890abcd"
        );
        assert_eq!(admission.pins.len(), 1);
        let call = &machine.calls()[0];
        assert!(call.as_root && call.line.contains("--print-join-command"));
        assert!(
            call.stdin.contains("new123.") && !call.line.contains("new123."),
            "the token is no argument"
        );
    }

    #[tokio::test]
    async fn a_token_that_is_gone_is_revoked_already() {
        let machine = Scripted::new("cp");
        machine.on("token delete", says(1, "!failed to delete bootstrap token \"new123\": secrets \"bootstrap-token-new123\" not found"));
        mint(&machine).revoke(&id()).await.unwrap();
        machine.on("token delete", says(1, "!connection refused"));
        assert!(mint(&machine).revoke(&id()).await.unwrap_err().transient);
    }

    #[tokio::test]
    async fn a_failure_says_what_kubeadm_said_and_not_the_order() {
        let machine = Scripted::new("cp");
        machine.on(
            "token create",
            says(
                1,
                "!failed to load admin kubeconfig: open /etc/kubernetes/admin.conf: no such file",
            ),
        );
        let failure = mint(&machine)
            .make(&order(), &Cluster::default())
            .await
            .unwrap_err();
        assert!(failure.message.contains("admin.conf"), "{failure:?}");
        assert_eq!(failure.id, "fleet-token-not-minted");
    }
}
