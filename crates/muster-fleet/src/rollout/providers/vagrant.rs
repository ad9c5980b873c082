//! Machines by Vagrant: a fragment of a Vagrantfile for each, `vagrant up`, and the way in as `vagrant ssh-config` says it.
//!
//! A Vagrantfile that is there already is the user's and left as it is. It refuses to know boxes.

use std::path::{Path, PathBuf};

use muster_rollout::StageFailure;
use muster_rollout::fleet_file::{HostSpec, VagrantSettings};
use muster_ssh::Command;

use super::{Providers, Tell, failed, with_size};
use crate::rollout::machines::Made;
use crate::rollout::reach::home;

/// What loads the fragments.
const VAGRANTFILE: &str = r#"# Made by muster: each machine has a file in muster.d.
Vagrant.configure("2") do |config|
  Dir.glob(File.join(__dir__, "muster.d", "*.rb")).sort.each do |file|
    eval(File.read(file), binding, file)
  end
end
"#;

fn directory(settings: &VagrantSettings) -> PathBuf {
    PathBuf::from(home(&settings.directory))
}

fn fragment_path(directory: &Path, host: &HostSpec) -> PathBuf {
    directory.join("muster.d").join(format!("{}.rb", host.name))
}

fn fragment(
    host: &HostSpec,
    image: &str,
    settings: &VagrantSettings,
) -> Result<String, StageFailure> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/:".contains(c);
    if image.is_empty() || !image.chars().all(plain) {
        return Err(failed(format!("{image:?} is not the name of a box"))
            .with_cure("write it as Vagrant lists it, such as debian/bookworm64"));
    }
    let (name, cpus, memory) = (&host.name, settings.size.cpus, settings.size.memory);
    let mut text = format!(
        "config.vm.define \"{name}\" do |machine|\n  machine.vm.box = \"{image}\"\n  machine.vm.hostname = \"{name}\"\n"
    );
    for provider in ["virtualbox", "libvirt", "parallels", "hyperv"] {
        let memory_field = if provider == "hyperv" {
            "maxmemory"
        } else {
            "memory"
        };
        text.push_str(&format!(
            "  machine.vm.provider(\"{provider}\") {{ |v| v.cpus = {cpus}; v.{memory_field} = {memory} }}\n"
        ));
    }
    text.push_str("end\n");
    Ok(text)
}

async fn write(path: &Path, text: &str) -> Result<(), StageFailure> {
    let wrong = |error: std::io::Error| failed(format!("cannot write {}: {error}", path.display()));
    if let Some(parent) = path.parent() {
        tokio::fs::create_dir_all(parent).await.map_err(wrong)?;
    }
    let beside = path.with_extension("new");
    tokio::fs::write(&beside, text).await.map_err(wrong)?;
    tokio::fs::rename(&beside, path).await.map_err(wrong)
}

/// `vagrant …` in the directory.
fn vagrant(
    directory: &Path,
    host: &HostSpec,
    settings: &VagrantSettings,
    words: &[&str],
) -> Command {
    let argv = std::iter::once("vagrant").chain(words.iter().copied());
    with_size(Command::new(argv), host, settings.size)
        .env("VAGRANT_CWD", directory.to_string_lossy())
}

pub(super) async fn create(
    providers: &Providers,
    host: &HostSpec,
    settings: &VagrantSettings,
    tell: Tell<'_>,
) -> Result<Made, StageFailure> {
    let directory = directory(settings);
    let file = directory.join("Vagrantfile");
    let is_there = tokio::fs::try_exists(&file).await.unwrap_or_default();
    match &settings.image {
        Some(image) => {
            write(
                &fragment_path(&directory, host),
                &fragment(host, image, settings)?,
            )
            .await?
        }
        None if is_there => {}
        None => {
            return Err(failed(format!("nothing says which box {} is made of", host.name))
                .with_cure("say provider.vagrant.box, or name the directory of a Vagrantfile that has the machine"));
        }
    }
    if !is_there {
        write(&file, VAGRANTFILE).await?;
    }
    tell("vagrant up");
    let up = vagrant(&directory, host, settings, &["up", host.name.as_str()]);
    providers
        .must(up, "make the machine by vagrant up")
        .await
        .map_err(|failure| {
            failure.with_cure(format!(
                "cd {} && vagrant up {}",
                directory.display(),
                host.name
            ))
        })?;
    tell("vagrant ssh-config");
    way_in(providers, &directory, host, settings).await?;
    Ok(Made {
        address: Some(host.name.to_string()),
    })
}

/// The way in to every machine of the directory that runs.
async fn way_in(
    providers: &Providers,
    directory: &Path,
    host: &HostSpec,
    settings: &VagrantSettings,
) -> Result<(), StageFailure> {
    let asked = vagrant(
        directory,
        host,
        settings,
        &["ssh-config", host.name.as_str()],
    );
    let said = providers
        .must(asked, "learn the way in by vagrant ssh-config")
        .await?;
    let path = directory.join("ssh_config");
    let before = tokio::fs::read_to_string(&path).await.unwrap_or_default();
    let text = format!(
        "{}{}\n",
        without(&before, host.name.as_str()),
        said.stdout.trim_end()
    );
    write(&path, &text).await
}

/// An `ssh_config` without the block of a host.
fn without(config: &str, name: &str) -> String {
    let mut kept = String::new();
    let mut skip = false;
    for line in config.lines() {
        if let Some(host) = line.strip_prefix("Host ") {
            skip = host.trim() == name;
        }
        if !skip {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

pub(super) async fn destroy(
    providers: &Providers,
    host: &HostSpec,
    settings: &VagrantSettings,
) -> Result<(), StageFailure> {
    let directory = directory(settings);
    if !tokio::fs::try_exists(directory.join("Vagrantfile"))
        .await
        .unwrap_or_default()
    {
        return Ok(());
    }
    let down = vagrant(
        &directory,
        host,
        settings,
        &["destroy", "-f", host.name.as_str()],
    );
    providers
        .must(down, "unmake the machine by vagrant destroy")
        .await
        .map_err(|failure| {
            failure.with_cure(format!(
                "cd {} && vagrant destroy -f {}",
                directory.display(),
                host.name
            ))
        })?;
    let _ = tokio::fs::remove_file(fragment_path(&directory, host)).await;
    let config = directory.join("ssh_config");
    if let Ok(before) = tokio::fs::read_to_string(&config).await {
        write(&config, &without(&before, host.name.as_str())).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_in_to_one_machine_is_taken_out_and_the_others_stay() {
        let config = "Host a\n  Port 1\nHost b\n  Port 2\n\nHost c\n  Port 3\n";
        assert_eq!(without(config, "b"), "Host a\n  Port 1\nHost c\n  Port 3\n");
        assert_eq!(without(config, "x"), config);
    }
}
