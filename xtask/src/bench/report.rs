//! Figures: what was measured, its limit, and the same on a peer.
//!
//! Refuses to know: how it was measured.

use serde::Serialize;
use serde_json::json;

/// Which direction is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Better {
    Less,
    More,
}

/// One measured value.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Figure {
    pub(super) name: String,
    pub(super) value: f64,
    pub(super) unit: &'static str,
    pub(super) better: Better,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) limit: Option<f64>,
}

impl Figure {
    pub(super) fn new(name: &str, value: f64, unit: &'static str, better: Better) -> Self {
        Self {
            name: name.to_owned(),
            value,
            unit,
            better,
            limit: None,
        }
    }

    pub(super) fn at_most(self, limit: f64) -> Self {
        Self {
            limit: Some(limit),
            ..self
        }
    }
}

/// Prints a value beside its limit.
pub(super) fn compare(what: &str, value: f64, unit: &str, limit: f64, better: Better) {
    let (ratio, kept, sign) = match better {
        Better::Less => (value / limit, value <= limit, "<="),
        Better::More => (value / limit, value >= limit, ">="),
    };
    let verdict = if kept { "kept" } else { "MISSED" };
    println!(
        "{what}: {value:.1} {unit} ({ratio:.2} of the limit {sign} {limit} {unit}: {verdict})"
    );
}

/// Prints all figures, with those of a peer beside them if there is one.
pub(super) fn print(own: &[Figure], peer: Option<&[Figure]>) {
    println!();
    for figure in own {
        let Figure {
            name, value, unit, ..
        } = figure;
        let limit = figure.limit.map_or_else(String::new, |limit| {
            let verdict = if *value <= limit { "kept" } else { "MISSED" };
            if limit > 0.0 {
                let share = value / limit;
                format!("  {share:.2} of the limit {limit} {unit}: {verdict}")
            } else {
                format!("  limit {limit}: {verdict}")
            }
        });
        let beside = beside(figure, peer).map_or_else(String::new, |other| {
            format!("  peer {other:.1} {unit}: {:.2} of it", value / other)
        });
        println!("{name:<52} {value:>10.1} {unit:<5}{limit}{beside}");
    }
}

/// Prints the same as JSON.
pub(super) fn print_json(own: &[Figure], peer: Option<&[Figure]>) {
    let figures: Vec<_> = own
        .iter()
        .map(|figure| {
            let other = beside(figure, peer);
            json!({"figure": figure, "peer": other, "ratio": other.map(|other| figure.value / other)})
        })
        .collect();
    println!("{}", json!({"figures": figures}));
}

fn beside(figure: &Figure, peer: Option<&[Figure]>) -> Option<f64> {
    let other = peer?.iter().find(|other| other.name == figure.name)?;
    (other.value > 0.0).then_some(other.value)
}

/// The value below which a share (0 to 1) of the sorted values lies.
pub(super) fn percentile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index into a list of measurements"
    )]
    let at = (last as f64 * share).round() as usize;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}
