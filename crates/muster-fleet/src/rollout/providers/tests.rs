//! Machines made and unmade: by commands, and by a program that stands for Vagrant.

use super::*;
use muster_rollout::FleetConfiguration;
use muster_rollout::fleet_file::Ambient;
use std::path::Path;

fn host(provider: &str, directory: &Path) -> HostSpec {
    let text = format!(
        "apiVersion: muster.dev/v1alpha1\nkind: FleetConfiguration\nhosts: [{{name: w1, provider: {provider}}}]\n"
    );
    let ambient = Ambient {
        name: "x",
        directory: directory.to_str().unwrap(),
    };
    let fleet = FleetConfiguration::parse(&text)
        .unwrap()
        .resolve(&ambient)
        .unwrap();
    fleet.hosts[0].clone()
}

#[tokio::test]
async fn a_command_gets_name_and_size_and_says_where_the_machine_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().display();
    let host = host(
        &format!(
            "{{command: {{create: 'echo {{cpus}} $MUSTER_MEMORY_MB >{path}/{{name}}; echo address=10.0.0.7', destroy: 'rm -f {path}/{{name}}', cpus: 4}}}}"
        ),
        dir.path(),
    );
    let providers = Providers::default();
    let made = providers.create(&host, &|_| {}).await.unwrap();
    assert_eq!(made.address.as_deref(), Some("10.0.0.7"));
    let made = dir.path().join("w1");
    assert_eq!(std::fs::read_to_string(&made).unwrap(), "4 8192\n");
    for _ in 0..2 {
        providers.destroy(&host).await.unwrap();
        assert!(!made.exists());
    }
}

#[tokio::test]
async fn a_command_that_fails_is_told_with_its_last_words() {
    let dir = tempfile::tempdir().unwrap();
    let host = host(
        "{command: {create: 'echo no more quota >&2; exit 7', destroy: 'true'}}",
        dir.path(),
    );
    let failure = Providers::default()
        .create(&host, &|_| {})
        .await
        .unwrap_err();
    assert_eq!(failure.id, ids::PROVIDER_FAILED);
    assert!(
        failure.message.contains("no more quota"),
        "{}",
        failure.message
    );
    assert!(failure.message.contains('7'), "{}", failure.message);
}

#[tokio::test]
async fn a_machine_without_a_box_is_refused_before_vagrant_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let host = host("{vagrant: {directory: v}}", dir.path());
    let failure = Providers::default()
        .create(&host, &|_| {})
        .await
        .unwrap_err();
    assert!(failure.message.contains("which box"), "{}", failure.message);
    assert!(!dir.path().join("v").exists());
    Providers::default().destroy(&host).await.unwrap();
}
