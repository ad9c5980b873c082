//! Tokens (`%h`), `~` and `${NAME}` in settings (ssh_config(5), TOKENS and ENVIRONMENT VARIABLES).

/// What the tokens stand for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tokens {
    /// `%h`: the name or address to connect to.
    pub(crate) hostname: String,
    /// `%n`: what was typed.
    pub(crate) typed: String,
    /// `%k`: the host key's alias, or else what was typed.
    pub(crate) alias: String,
    /// `%p`
    pub(crate) port: u16,
    /// `%r`: the user there.
    pub(crate) user: String,
    /// `%u`: the user here.
    pub(crate) local_user: String,
    /// `%d` and `~`: the home folder here.
    pub(crate) home: String,
    /// `%i`: the number of the user here.
    pub(crate) uid: u32,
    /// `%l`, and up to its first dot `%L`: the name of this machine.
    pub(crate) local_host: String,
}

/// Replaces tokens.
///
/// # Errors
/// The token that is not known.
pub(crate) fn expand(text: &str, tokens: &Tokens) -> Result<String, String> {
    let mut expanded = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            expanded.push(character);
            continue;
        }
        match characters.next() {
            Some('%') => expanded.push('%'),
            Some('h') => expanded.push_str(&tokens.hostname),
            Some('n') => expanded.push_str(&tokens.typed),
            Some('k') => expanded.push_str(&tokens.alias),
            Some('p') => expanded.push_str(&tokens.port.to_string()),
            Some('r') => expanded.push_str(&tokens.user),
            Some('u') => expanded.push_str(&tokens.local_user),
            Some('d') => expanded.push_str(&tokens.home),
            Some('i') => expanded.push_str(&tokens.uid.to_string()),
            Some('l') => expanded.push_str(&tokens.local_host),
            Some('L') => expanded.push_str(tokens.local_host.split('.').next().unwrap_or_default()),
            other => {
                return Err(format!(
                    "the token %{} in {text:?} is not supported",
                    other.map(String::from).unwrap_or_default()
                ));
            }
        }
    }
    Ok(expanded)
}

/// Replaces a leading `~` and `${NAME}`, then tokens.
///
/// # Errors
/// What cannot be replaced.
pub(super) fn path(
    text: &str,
    tokens: &Tokens,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<String, String> {
    let mut with_variables = String::with_capacity(text.len());
    let mut rest = text;
    if rest == "~" || rest.starts_with("~/") {
        with_variables.push_str(&tokens.home.replace('%', "%%"));
        rest = rest.get(1..).unwrap_or_default();
    }
    while let Some((front, behind)) = rest.split_once("${") {
        let Some((name, behind)) = behind.split_once('}') else {
            return Err(format!("{text:?} has no end of ${{"));
        };
        let value = environment(name)
            .ok_or_else(|| format!("the variable {name} in {text:?} is not set"))?;
        with_variables.push_str(front);
        with_variables.push_str(&value.replace('%', "%%"));
        rest = behind;
    }
    with_variables.push_str(rest);
    expand(&with_variables, tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> Tokens {
        Tokens {
            hostname: "10.0.0.1".to_owned(),
            typed: "web".to_owned(),
            port: 2222,
            user: "ada".to_owned(),
            home: "/home/a%b".to_owned(),
            local_host: "desk.lab".to_owned(),
            ..Tokens::default()
        }
    }

    #[test]
    fn tokens_become_values_and_unknown_ones_are_named() {
        let expanded = expand("nc %h %p # %n %r %L %%", &tokens()).unwrap();
        assert_eq!(expanded, "nc 10.0.0.1 2222 # web ada desk %");
        assert!(expand("%Z", &tokens()).unwrap_err().contains("%Z"));
        assert!(expand("x%", &tokens()).is_err());
    }

    #[test]
    fn home_and_variables_are_replaced_and_their_values_are_not_expanded() {
        let environment = |name: &str| (name == "WHERE").then(|| "x%hy".to_owned());
        let path = |text| path(text, &tokens(), &environment);
        assert_eq!(
            path("~/.ssh/${WHERE}/%r").unwrap(),
            "/home/a%b/.ssh/x%hy/ada"
        );
        assert_eq!(path("%d/k").unwrap(), "/home/a%b/k");
        assert_eq!(path("/a~b").unwrap(), "/a~b");
        assert!(path("${NO}").is_err());
        assert!(path("${NO").is_err());
    }
}
