//! `muster fleet plan`: what a join would do to each host, and how it would be taken back; and the check that a plan that
//! was saved still fits.

use super::source::{self, Loaded};
use super::{access, failure, secrets};
use crate::args::fleet::{Plan, Way, Which};
use crate::exit::Failure;
use crate::printer::{Output, Printer};
use muster_fleet::rollout::{self, Deed, Facts, Reach, SavedPlan, exit_code};
use muster_rollout::Fleet;
use muster_rollout::fleet_file::{Keep, Limit, Role};
use serde_json::json;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

/// The most names in one heading.
const NAMES: usize = 8;

pub(super) async fn run(plan: &Plan, printer: Printer) -> Result<(), Failure> {
    let loaded = source::load(&plan.which, printer)?;
    let facts = match plan.offline {
        true => None,
        false => Some(look(&loaded.fleet, &plan.way).await?),
    };
    match printer.output() {
        Output::Text => printer.text(page(&loaded.fleet, facts.as_ref())),
        Output::Json | Output::Yaml => printer.json(&told(&loaded.fleet, facts.as_ref())),
    }
    if let (Some(path), Some(facts)) = (&plan.save, facts) {
        let saved = SavedPlan::new(&loaded.fleet.name, &loaded.source, facts);
        save(path, &saved)?;
        printer.note(format!(
            "saved to {}; use it: muster fleet join {}--plan {}",
            path.display(),
            flags(&plan.which),
            path.display()
        ));
    }
    Ok(())
}

async fn look(fleet: &Fleet, way: &Way) -> Result<Facts, Failure> {
    let secrets = secrets::finder();
    let reach = Reach::new(
        fleet.timeouts.connect,
        way.accept_new_host_keys,
        Arc::clone(&secrets),
    );
    let kubeconfig = access::of_fleet(fleet, way)?;
    let facts = rollout::look(fleet, kubeconfig, &reach, &secrets).await;
    facts.map_err(|error| failure(&error))
}

/// The flags that name the same fleet again.
fn flags(which: &Which) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    if let Some(file) = &which.file {
        let _ = write!(text, "-f {} ", file.display());
    }
    if let Some(inventory) = &which.inventory {
        let _ = write!(text, "--inventory {} ", inventory.display());
    }
    if !which.limit.is_empty() {
        let _ = write!(text, "--limit {} ", which.limit.join(","));
    }
    text
}

fn save(path: &Path, saved: &SavedPlan) -> Result<(), Failure> {
    let unwritable = |error: &(dyn std::error::Error + 'static)| {
        Failure::usage(format!("{} cannot be written", path.display())).because(error)
    };
    let text = serde_json::to_string_pretty(saved).map_err(|error| unwritable(&error))?;
    std::fs::write(path, text + "\n").map_err(|error| unwritable(&error))
}

/// Refuses to go on when anything is different from what it was when the plan was saved.
pub(super) async fn refuse_stale(path: &Path, loaded: &Loaded, way: &Way) -> Result<(), Failure> {
    let unusable = |error: &(dyn std::error::Error + 'static)| {
        Failure::usage(format!("the plan {} cannot be used", path.display())).because(error)
    };
    let text = std::fs::read(path).map_err(|error| unusable(&error))?;
    let saved: SavedPlan = serde_json::from_slice(&text).map_err(|error| unusable(&error))?;
    let facts = look(&loaded.fleet, way).await?;
    let now = SavedPlan::new(&loaded.fleet.name, &loaded.source, facts);
    let differences = saved.differences(&now);
    if differences.is_empty() {
        return Ok(());
    }
    let mut failure = Failure::new(
        "fleet-plan-stale",
        exit_code::PLAN_STALE,
        "the plan does not fit any more, and nothing was done",
    );
    failure.causes = differences;
    Err(failure.cure(format!(
        "look at it again: muster fleet plan with the same flags and --save {}",
        path.display()
    )))
}

/// Hosts to which the same is done.
struct Alike {
    names: Vec<String>,
    deeds: Vec<Deed>,
}

fn alike(fleet: &Fleet) -> Vec<Alike> {
    let mut groups: Vec<(Vec<Deed>, Alike)> = Vec::new();
    for host in &fleet.hosts {
        let deeds = rollout::deeds(fleet, host);
        let name = host.name.as_str();
        // Hosts whose deeds differ in nothing but their name and address are alike.
        let general = |text: &str| {
            text.replace(name, "{name}")
                .replace(host.address(), "{address}")
        };
        let key: Vec<Deed> = deeds
            .iter()
            .map(|deed| Deed {
                stage: deed.stage,
                does: general(&deed.does),
                undo: general(&deed.undo),
            })
            .collect();
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, alike)) => alike.names.push(name.to_owned()),
            None => groups.push((
                key,
                Alike {
                    names: vec![name.to_owned()],
                    deeds,
                },
            )),
        }
    }
    groups
        .into_iter()
        .map(|(general, mut alike)| {
            if alike.names.len() > 1 {
                alike.deeds = general;
            }
            alike
        })
        .collect()
}

fn page(fleet: &Fleet, facts: Option<&Facts>) -> String {
    let mut text = format!("fleet {}: {} hosts\n", fleet.name, fleet.hosts.len());
    // Writing to a String cannot fail.
    if let Some(endpoint) = facts.and_then(|facts| facts.endpoint.as_ref()) {
        let _ = writeln!(text, "  cluster      {endpoint}");
    }
    let at_once = match fleet.concurrency.limit {
        Limit::Fixed(most) => most.to_string(),
        Limit::Auto => "as many as the API server bears".to_owned(),
    };
    let _ = writeln!(text, "  at once      {at_once}");
    let keep = match fleet.policy.keep {
        Keep::AllOrNothing => "every attempted host is taken back".to_owned(),
        Keep::Successes => "it is taken back, the others stay".to_owned(),
        Keep::AtLeast(least) => {
            format!("it is taken back; the others stay if they are at least {least}")
        }
    };
    let _ = writeln!(text, "  if one fails {keep}");
    let control_planes = fleet
        .hosts
        .iter()
        .filter(|host| host.settings.role == Role::ControlPlane)
        .count();
    if control_planes > 0 {
        let _ = writeln!(
            text,
            "  first        {control_planes} control-plane hosts, one after the other"
        );
    }
    let _ = writeln!(
        text,
        "  token        one for the run, revoked at its end; never in arguments, files on disk or the journal"
    );
    for alike in alike(fleet) {
        let shown = alike.names.len().min(NAMES);
        let more = alike.names.len() - shown;
        let _ = write!(text, "\n{}", alike.names[..shown].join(", "));
        if more > 0 {
            let _ = write!(text, " and {more} more");
        }
        text.push('\n');
        for (number, deed) in alike.deeds.iter().enumerate() {
            let _ = writeln!(text, "  {:2}. {:9} {}", number + 1, deed.stage, deed.does);
            if deed.undo != "nothing to do" {
                let _ = writeln!(text, "      {:9} undo: {}", "", deed.undo);
            }
        }
    }
    if let Some(facts) = facts {
        findings(facts, &mut text);
    }
    text
}

/// What stands in the way already.
fn findings(facts: &Facts, text: &mut String) {
    let mut heading = "\nalready to be seen:\n";
    for (name, host) in &facts.hosts {
        let mut say = |what: &str| {
            text.push_str(heading);
            heading = "";
            let _ = writeln!(text, "  {name}: {what}");
        };
        if let Some(failure) = &host.failure {
            say(&format!("{} [{}]", failure.message, failure.id));
            if let Some(cure) = &failure.cure {
                say(&format!("now: {}", cure.replace('\n', "; ")));
            }
        }
        let was_node = host.seen.iter().any(|line| line == "node");
        match (was_node, host.node.is_some()) {
            (true, true) => say("it is a node already: it is left alone"),
            (true, false) => say("it is a node of another cluster, or was one: reset it first"),
            (false, true) => say("there is a Node of this name"),
            (false, false) => {}
        }
    }
}

fn told(fleet: &Fleet, facts: Option<&Facts>) -> serde_json::Value {
    let hosts = fleet.hosts.iter().map(|host| {
        json!({
            "name": host.name.as_str(),
            "method": host.settings.join.as_str(),
            "steps": rollout::deeds(fleet, host),
        })
    });
    json!({
        "type": "fleet-plan",
        "fleet": fleet.name,
        "hosts": hosts.collect::<Vec<_>>(),
        "facts": facts,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_uses_a_saved_plan_names_the_same_fleet() {
        let which = Which {
            file: Some("east.yaml".into()),
            inventory: Some("hosts.ini".into()),
            limit: vec!["a".into(), "b".into()],
        };
        assert_eq!(
            flags(&which),
            "-f east.yaml --inventory hosts.ini --limit a,b "
        );
    }
}
