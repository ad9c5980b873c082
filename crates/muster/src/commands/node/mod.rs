//! `muster node`: one node in, one node out, and which there are.

mod add;
mod drain;
mod entry;
mod list;
mod remove;

use crate::args::node::{Node, Verb};
use crate::exit::Failure;
use crate::printer::Printer;

/// Carries out `muster node …`.
pub(crate) async fn run(node: Node, printer: Printer) -> Result<(), Failure> {
    match node.verb {
        Verb::Add(add) => add::run(*add, printer).await,
        Verb::List(list) => list::run(&list, printer).await,
        Verb::Remove(remove) => remove::run(*remove, printer).await,
    }
}
