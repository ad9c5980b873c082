//! The help pages, which are also the table of commands and flags.
//!
//! A page lists its sub-commands, aliases and flags in pflag's layout; reading them from there means that help and
//! behaviour cannot differ. The texts are those of kubeadm 1.36, for the commands that are answered.

/// All pages, each behind a line `=== kubeadm …`.
const PAGES: &str = include_str!("pages.txt");

/// What a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// Nothing, or `=true` and `=false`.
    Bool,
    /// Any text.
    Text,
    /// A list with commas; may be repeated.
    List,
    /// A 32-bit number.
    Number,
    /// A Go duration.
    Duration,
}

/// A flag of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flag {
    /// Without dashes.
    pub(super) name: &'static str,
    /// Its letter.
    pub(super) short: Option<char>,
    /// What it takes.
    pub(super) takes: Takes,
    /// Its default as printed.
    pub(super) default: &'static str,
}

/// The page of a command; the path is without `kubeadm`.
pub(super) fn page(path: &[String]) -> Option<String> {
    if let [first, second, name] = path
        && (first.as_str(), second.as_str()) == ("certs", "renew")
        && name != "all"
    {
        return renewal(name);
    }
    stored(path).map(str::to_owned)
}

fn stored(path: &[String]) -> Option<&'static str> {
    let title = std::iter::once("kubeadm")
        .chain(path.iter().map(String::as_str))
        .collect::<Vec<_>>()
        .join(" ");
    PAGES.split("=== ").find_map(|page| {
        let (head, body) = page.split_once('\n')?;
        (head == title).then_some(body)
    })
}

/// One page serves for every certificate that can be renewed.
fn renewal(name: &str) -> Option<String> {
    let group = ["certs".to_owned(), "renew".to_owned()];
    let of = |name: &str| {
        let listed = stored(&group)?.lines().find_map(|line| {
            let rest = line.strip_prefix("  ")?.strip_prefix(name)?;
            rest.starts_with(' ')
                .then(|| rest.trim().strip_prefix("Renew the "))?
        })?;
        Some(listed.to_owned())
    };
    let example = "admin.conf";
    let page = stored(&["certs", "renew", example].map(str::to_owned))?;
    let mut page = page.replace(&of(example)?, &of(name)?);
    for place in ["kubeadm certs renew ", "help for "] {
        page = page.replace(&format!("{place}{example}"), &format!("{place}{name}"));
    }
    Some(page)
}

fn section<'a>(page: &'a str, title: &str) -> impl Iterator<Item = &'a str> {
    let start = page
        .find(&format!("{title}:\n"))
        .map(|at| at + title.len() + 2);
    let body = start.map_or("", |start| &page[start..]);
    body.lines().take_while(|line| line.starts_with("  "))
}

/// The sub-commands that a page lists.
pub(super) fn children(page: &str) -> Vec<String> {
    section(page, "Available Commands")
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

/// The name and the other names of a page's command.
pub(super) fn aliases(page: &str) -> Vec<String> {
    section(page, "Aliases")
        .flat_map(|line| line.split(','))
        .map(|name| name.trim().to_owned())
        .collect()
}

/// The flags that a page lists, global ones included.
pub(super) fn flags(page: &'static str) -> Vec<Flag> {
    section(page, "\nFlags")
        .chain(section(page, "Global Flags"))
        .filter_map(flag)
        .collect()
}

/// The flags of a command.
pub(super) fn flags_of(path: &[String]) -> Vec<Flag> {
    let renewed = ["certs", "renew"];
    let path: Vec<String> = if path.len() == 3 && path.iter().zip(renewed).all(|(a, b)| a == b) {
        ["certs", "renew", "all"].map(str::to_owned).into()
    } else {
        path.to_vec()
    };
    stored(&path).map(flags).unwrap_or_default()
}

/// One line of pflag's layout: `  -f, --force string   what it is for (default "x")`.
fn flag(line: &'static str) -> Option<Flag> {
    let line = line.trim_start();
    let (short, rest) = match line.strip_prefix("--") {
        Some(rest) => (None, rest),
        None => {
            let letter = line.strip_prefix('-')?.chars().next()?;
            (Some(letter), line.split_once(", --")?.1)
        }
    };
    let (usage, what) = rest.split_once("  ").unwrap_or((rest, ""));
    let (name, kind) = usage.split_once(' ').unwrap_or((usage, ""));
    let takes = match kind {
        "" => Takes::Bool,
        "strings" => Takes::List,
        "int32" | "Level" => Takes::Number,
        "duration" => Takes::Duration,
        _ => Takes::Text,
    };
    let default = what.rsplit_once("(default ").map_or("", |(_, default)| {
        default.trim_end_matches(')').trim_matches('"')
    });
    Some(Flag {
        name,
        short,
        takes,
        default,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn every_command_that_is_listed_has_its_page_or_is_said_not_to_be_provided() {
        let mut open = vec![Vec::new()];
        let mut seen = 0;
        while let Some(path) = open.pop() {
            let Some(page) = page(&path) else {
                assert_eq!(path, ["upgrade"], "no page");
                continue;
            };
            seen += 1;
            assert!(page.contains("Usage:\n"), "{path:?}");
            for child in children(&page).into_iter().filter(|child| child != "help") {
                let mut below = path.clone();
                below.push(child);
                open.push(below);
            }
        }
        assert!(seen > 60, "{seen}");
    }

    #[test]
    fn flags_are_read_with_letter_type_and_default() {
        let flags = flags_of(&path("join"));
        let find = |name: &str| flags.iter().find(|flag| flag.name == name).unwrap();
        assert_eq!(find("token").takes, Takes::Text);
        assert_eq!(find("discovery-token-ca-cert-hash").takes, Takes::List);
        assert_eq!(find("apiserver-bind-port").takes, Takes::Number);
        assert_eq!(find("apiserver-bind-port").default, "6443");
        assert_eq!(find("v").short, Some('v'));
        assert_eq!(find("dry-run").takes, Takes::Bool);
        let create = flags_of(&path("token create"));
        let ttl = create.iter().find(|flag| flag.name == "ttl").unwrap();
        assert_eq!((ttl.takes, ttl.default), (Takes::Duration, "24h0m0s"));
    }

    #[test]
    fn each_certificate_has_its_own_renewal_page() {
        let page = page(&path("certs renew etcd-server")).unwrap();
        assert!(
            page.contains("kubeadm certs renew etcd-server [flags]"),
            "{page}"
        );
        assert!(
            page.contains("Renew the certificate for serving etcd."),
            "{page}"
        );
        assert!(!page.contains("renew admin.conf"), "{page}");
        assert!(super::page(&path("certs renew nothing")).is_none());
    }
}
