//! `completion`: sub-commands and flags for the shell, from the same pages that help prints.

use super::line::Parsed;
use super::pages;
use super::refusal::Refusal;
use crate::printer::Printer;
use std::fmt::Write as _;

/// Carries out `completion SHELL`.
pub(super) fn run(line: &Parsed, printer: Printer) -> Result<(), Refusal> {
    let script = match line.arguments.as_slice() {
        [] => return Err(Refusal::usage("shell not specified")),
        [shell] if shell == "bash" => script(),
        [shell] if shell == "zsh" => {
            format!("autoload -U +X bashcompinit && bashcompinit\n{}", script())
        }
        [shell] => {
            return Err(Refusal::usage(format!(
                "unsupported shell type {shell:?}, the supported shell types are [bash zsh]"
            )));
        }
        _ => {
            return Err(Refusal::usage(
                "too many arguments. expected only the shell type",
            ));
        }
    };
    printer.text(script);
    Ok(())
}

/// For bash: the command so far, without flags, chooses the words that may follow.
fn script() -> String {
    let mut cases = String::new();
    let mut open = vec![Vec::<String>::new()];
    while let Some(path) = open.pop() {
        let Some(page) = pages::page(&path) else {
            continue;
        };
        let children = pages::children(&page);
        let mut words = children.clone();
        words.extend(
            pages::flags_of(&path)
                .iter()
                .map(|flag| format!("--{}", flag.name)),
        );
        // Writing into a String cannot fail.
        let _ = writeln!(
            cases,
            "    \"{}\") words=\"{}\" ;;",
            path.join(" "),
            words.join(" ")
        );
        for child in children.into_iter().filter(|child| child != "help") {
            let mut below = path.clone();
            below.push(child);
            open.push(below);
        }
    }
    format!(
        "_kubeadm() {{
  local words word path=\"\"
  for word in \"${{COMP_WORDS[@]:1:COMP_CWORD-1}}\"; do
    case \"$word\" in -*) ;; *) path=\"${{path:+$path }}$word\" ;; esac
  done
  case \"$path\" in
{cases}    *) words=\"\" ;;
  esac
  COMPREPLY=($(compgen -W \"$words\" -- \"${{COMP_WORDS[COMP_CWORD]}}\"))
}}
complete -o default -F _kubeadm kubeadm
"
    )
}
