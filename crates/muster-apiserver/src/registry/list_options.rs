//! The options of list, watch and deletecollection (`v1.ListOptions`): how they are read, which of them go
//! together, and what a resource version asks for.
//!
//! Refuses to know: how any of it is served.

use muster_machinery::{
    resources::{self, Resource},
    selector::{FieldSelector, LabelSelector},
    status::Status,
    validation::FieldError,
};

use super::Refusal;
use crate::request::query_pairs;

/// The matches that there are, as they are written.
const EXACT: &str = "Exact";
const NOT_OLDER_THAN: &str = "NotOlderThan";

/// How a resource version restricts a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// The newest state there is when the request comes in.
    Newest,
    /// Any state.
    Any,
    /// A state at this revision or later.
    NotOlderThan(u64),
    /// The state at exactly this revision.
    Exactly(u64),
}

/// Where a watch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WatchStart {
    /// With the objects that are there, in a state at this revision or later (the newest, if `None`). Whoever
    /// takes bookmarks is told where they end.
    State(Option<u64>),
    /// With what changes after this revision, whenever that will be.
    After(u64),
    /// With what changes from now on.
    Now,
}

/// Options of list, watch and deletecollection.
#[derive(Clone, Debug)]
pub(crate) struct ListOptions {
    /// Selected labels.
    pub(crate) labels: LabelSelector,
    /// Selected fields.
    pub(crate) fields: FieldSelector,
    /// The most objects in one answer; 0 for all.
    pub(crate) limit: usize,
    /// The token of the page before.
    pub(crate) continue_token: String,
    /// The asked resource version as it was written.
    pub(crate) resource_version: String,
    /// `Exact`, `NotOlderThan` or empty.
    pub(crate) version_match: String,
    /// After how many seconds a watch ends.
    pub(crate) timeout_seconds: Option<i64>,
    /// Whether a watch wants bookmarks.
    pub(crate) bookmarks: bool,
    /// Whether a watch begins with the present objects.
    pub(crate) initial_events: Option<bool>,
}

impl Default for ListOptions {
    fn default() -> Self {
        Self {
            labels: LabelSelector::everything(),
            fields: FieldSelector::everything(),
            limit: 0,
            continue_token: String::new(),
            resource_version: String::new(),
            version_match: String::new(),
            timeout_seconds: None,
            bookmarks: false,
            initial_events: None,
        }
    }
}

impl ListOptions {
    /// Reads the query of a list or a deletion of a collection.
    pub(crate) fn of_list(query: Option<&str>, resource: &Resource) -> Result<Self, Refusal> {
        let options = Self::read(query)?;
        refuse(&options.list_errors())?;
        options.check_fields(resource)?;
        Ok(options)
    }

    /// Reads the query of a watch; `name` is the one in the path, if there is one.
    pub(crate) fn of_watch(
        query: Option<&str>,
        resource: &Resource,
        name: &str,
    ) -> Result<Self, Refusal> {
        let mut options = Self::read(query)?;
        options.begin_with_state_as_of_old();
        refuse(&options.watch_errors())?;
        options.check_fields(resource)?;
        let other = |selected: Option<&str>| selected != Some(name);
        let selects = !options.fields.is_everything();
        if !name.is_empty() && selects && other(options.fields.required_value("metadata.name")) {
            let why = "fieldSelector metadata.name doesn't match requested name";
            return Err(Status::bad_request(why).into());
        }
        Ok(options)
    }

    fn read(query: Option<&str>) -> Result<Self, Refusal> {
        let mut options = Self::default();
        // Of a parameter that comes twice the first counts, as it did for the authorizer: a second selector
        // must not widen what was allowed for the first.
        let mut seen: Vec<String> = Vec::new();
        for (key, value) in query_pairs(query) {
            if !seen.contains(&key) && options.take(&key, value)? {
                seen.push(key);
            }
        }
        Ok(options)
    }

    /// Takes a parameter; `false` if it is none of these options.
    fn take(&mut self, key: &str, value: String) -> Result<bool, Refusal> {
        let refuse = |error: &dyn std::fmt::Display| Status::bad_request(error.to_string());
        match key {
            "labelSelector" => {
                self.labels = LabelSelector::parse(&value).map_err(|error| refuse(&error))?;
            }
            "fieldSelector" => {
                self.fields = FieldSelector::parse(&value).map_err(|error| refuse(&error))?;
            }
            // A limit below one is none.
            "limit" => self.limit = usize::try_from(number(&value)?).unwrap_or_default(),
            "continue" => self.continue_token = value,
            "resourceVersion" => self.resource_version = value,
            "resourceVersionMatch" => self.version_match = value,
            "timeoutSeconds" => self.timeout_seconds = Some(number(&value)?),
            "allowWatchBookmarks" => self.bookmarks = flag(&value),
            "sendInitialEvents" => self.initial_events = Some(flag(&value)),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// A watch that asks for no particular version begins with what is there (`SetListOptionsDefaults` upstream).
    fn begin_with_state_as_of_old(&mut self) {
        let unspecific = matches!(self.resource_version.as_str(), "" | "0");
        if unspecific && self.initial_events.is_none() && self.version_match.is_empty() {
            self.initial_events = Some(true);
            NOT_OLDER_THAN.clone_into(&mut self.version_match);
        }
    }

    /// `ValidateListOptions` upstream.
    fn list_errors(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let matched = "resourceVersionMatch";
        if !self.version_match.is_empty() {
            if self.resource_version.is_empty() {
                let why = "resourceVersionMatch is forbidden unless resourceVersion is provided";
                errors.push(FieldError::forbidden(matched, why));
            }
            self.forbid_match_with_continue(&mut errors);
            if !matches!(self.version_match.as_str(), EXACT | NOT_OLDER_THAN) {
                let value = self.version_match.as_str().into();
                let supported = [EXACT, NOT_OLDER_THAN, ""];
                errors.push(FieldError::not_supported(matched, value, &supported));
            }
            if self.version_match == EXACT && self.resource_version == "0" {
                let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
                errors.push(FieldError::forbidden(matched, why));
            }
        }
        if self.initial_events.is_some() {
            let why = "sendInitialEvents is forbidden for list";
            errors.push(FieldError::forbidden("sendInitialEvents", why));
        }
        errors
    }

    /// `validateWatchOptions` upstream.
    fn watch_errors(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let matched = "resourceVersionMatch";
        if self.initial_events.is_some() && self.version_match != NOT_OLDER_THAN {
            let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            errors.push(FieldError::forbidden(matched, why));
        }
        if !self.version_match.is_empty() {
            if self.initial_events.is_none() {
                let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
                errors.push(FieldError::forbidden(matched, why));
            }
            if self.version_match != NOT_OLDER_THAN {
                let value = self.version_match.as_str().into();
                errors.push(FieldError::not_supported(matched, value, &[NOT_OLDER_THAN]));
            }
            self.forbid_match_with_continue(&mut errors);
        }
        errors
    }

    fn forbid_match_with_continue(&self, errors: &mut Vec<FieldError>) {
        if !self.continue_token.is_empty() {
            let why = "resourceVersionMatch is forbidden when continue is provided";
            errors.push(FieldError::forbidden("resourceVersionMatch", why));
        }
    }

    fn check_fields(&self, resource: &Resource) -> Result<(), Refusal> {
        let (group, version) = (&resource.group, &resource.version);
        if resources::find(group, version, &resource.plural).is_none() {
            let known = |field: &str| {
                matches!(field, "metadata.name" | "metadata.namespace")
                    || resource.selectable.iter().any(|own| own == field)
            };
            let unknown = self
                .fields
                .requirements()
                .iter()
                .find(|one| !known(&one.field));
            return unknown.map_or(Ok(()), |one| {
                let why = format!("field label not supported: {}", one.field);
                Err(Status::bad_request(why).into())
            });
        }
        self.fields
            .check(&resource.group, &resource.kind)
            .map_err(|error| Status::bad_request(error.to_string()).into())
    }

    /// What the resource version and its match mean for a list without a continue token.
    pub(crate) fn freshness(&self) -> Result<Freshness, Refusal> {
        if self.resource_version.is_empty() {
            return Ok(Freshness::Newest);
        }
        let version = parse_version(&self.resource_version)?;
        Ok(match (self.version_match.as_str(), version) {
            (EXACT, version) => Freshness::Exactly(version),
            (_, 0) => Freshness::Any,
            // As it was before there were matches.
            ("", version) if self.limit > 0 => Freshness::Exactly(version),
            (_, version) => Freshness::NotOlderThan(version),
        })
    }

    /// Where a watch begins.
    pub(crate) fn watch_start(&self) -> Result<WatchStart, Refusal> {
        let version = match self.resource_version.as_str() {
            "" => None,
            text => Some(parse_version(text)?),
        };
        Ok(match (self.initial_events, version) {
            (Some(true), version) => WatchStart::State(version),
            (_, None | Some(0)) => WatchStart::Now,
            (_, Some(version)) => WatchStart::After(version),
        })
    }

    /// Whether the selectors let everything through.
    pub(crate) fn selects_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }
}

fn refuse(errors: &[FieldError]) -> Result<(), Refusal> {
    if errors.is_empty() {
        return Ok(());
    }
    Err(Status::invalid("meta.k8s.io", "ListOptions", "", errors).into())
}

/// Only these two words are no; even the empty word is yes (`Convert_Slice_string_To_bool` upstream).
fn flag(value: &str) -> bool {
    value != "0" && !value.eq_ignore_ascii_case("false")
}

fn number(value: &str) -> Result<i64, Refusal> {
    value.parse().map_err(|_| {
        Status::bad_request(format!(
            "strconv.ParseInt: parsing {value:?}: invalid syntax"
        ))
        .into()
    })
}

/// Reads a resource version.
pub(crate) fn parse_version(text: &str) -> Result<u64, Refusal> {
    text.parse().map_err(|_| {
        Status::bad_request(format!(
            "invalid resource version: resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
        ))
        .into()
    })
}

#[cfg(test)]
mod tests {
    use muster_machinery::resources;

    use super::*;

    fn pods() -> &'static Resource {
        resources::find("", "v1", "pods").unwrap()
    }

    fn list(query: &str) -> Result<Freshness, (u16, String)> {
        ListOptions::of_list(Some(query), pods())
            .and_then(|options| options.freshness())
            .map_err(|refusal| (refusal.code(), refusal.message().to_owned()))
    }

    fn watch(query: &str) -> Result<WatchStart, (u16, String)> {
        ListOptions::of_watch(Some(query), pods(), "")
            .and_then(|options| options.watch_start())
            .map_err(|refusal| (refusal.code(), refusal.message().to_owned()))
    }

    #[test]
    fn the_matrix_of_lists_is_upstreams() {
        for (query, expected) in [
            ("", Freshness::Newest),
            ("limit=5", Freshness::Newest),
            ("resourceVersion=0", Freshness::Any),
            ("resourceVersion=0&limit=5", Freshness::Any),
            (
                "resourceVersion=0&resourceVersionMatch=NotOlderThan",
                Freshness::Any,
            ),
            ("resourceVersion=7", Freshness::NotOlderThan(7)),
            ("resourceVersion=7&limit=5", Freshness::Exactly(7)),
            ("resourceVersion=7&limit=-1", Freshness::NotOlderThan(7)),
            (
                "resourceVersion=7&resourceVersionMatch=Exact",
                Freshness::Exactly(7),
            ),
            (
                "resourceVersion=7&resourceVersionMatch=NotOlderThan&limit=5",
                Freshness::NotOlderThan(7),
            ),
        ] {
            assert_eq!(list(query), Ok(expected), "{query}");
        }
    }

    #[test]
    fn what_does_not_go_together_in_a_list_is_refused_in_upstreams_words() {
        let head = "ListOptions.meta.k8s.io \"\" is invalid: ";
        for (query, why) in [
            (
                "resourceVersionMatch=Exact",
                "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
            ),
            (
                "resourceVersion=0&resourceVersionMatch=Exact",
                "resourceVersionMatch: Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
            ),
            (
                "resourceVersion=1&resourceVersionMatch=Newer",
                "resourceVersionMatch: Unsupported value: \"Newer\": supported values: \"Exact\", \"NotOlderThan\", \"\"",
            ),
            (
                "resourceVersion=1&resourceVersionMatch=Exact&continue=x",
                "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided",
            ),
            (
                "sendInitialEvents=true",
                "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list",
            ),
        ] {
            assert_eq!(list(query), Err((422, format!("{head}{why}"))), "{query}");
        }
        for query in ["resourceVersion=x", "limit=x", "timeoutSeconds=1s"] {
            assert_eq!(list(query).unwrap_err().0, 400, "{query}");
        }
    }

    #[test]
    fn the_matrix_of_watches_is_upstreams() {
        let initial = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
        let live = "sendInitialEvents=false&resourceVersionMatch=NotOlderThan";
        for (query, expected) in [
            (String::new(), WatchStart::State(None)),
            ("resourceVersion=0".to_owned(), WatchStart::State(Some(0))),
            ("resourceVersion=7".to_owned(), WatchStart::After(7)),
            (initial.to_owned(), WatchStart::State(None)),
            (
                format!("{initial}&resourceVersion=7"),
                WatchStart::State(Some(7)),
            ),
            (live.to_owned(), WatchStart::Now),
            (format!("{live}&resourceVersion=0"), WatchStart::Now),
            (format!("{live}&resourceVersion=7"), WatchStart::After(7)),
        ] {
            assert_eq!(watch(&query), Ok(expected), "{query}");
        }
    }

    #[test]
    fn what_does_not_go_together_in_a_watch_is_refused_in_upstreams_words() {
        let head = "ListOptions.meta.k8s.io \"\" is invalid: ";
        let needs = "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        for (query, why) in [
            ("sendInitialEvents=true", needs.to_owned()),
            (
                "resourceVersion=7&resourceVersionMatch=NotOlderThan",
                "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided".to_owned(),
            ),
            (
                "sendInitialEvents=true&resourceVersionMatch=Exact",
                format!("[{needs}, resourceVersionMatch: Unsupported value: \"Exact\": supported values: \"NotOlderThan\"]"),
            ),
        ] {
            assert_eq!(watch(query), Err((422, format!("{head}{why}"))), "{query}");
        }
    }

    #[test]
    fn a_watch_of_one_name_takes_no_selector_for_another() {
        let of = |query| ListOptions::of_watch(Some(query), pods(), "a").map(|_| ());
        assert!(of("fieldSelector=metadata.name%3Da").is_ok());
        assert_eq!(
            of("fieldSelector=metadata.name%3Db").unwrap_err().code(),
            400
        );
        assert_eq!(
            of("fieldSelector=spec.nodeName%3Dn").unwrap_err().code(),
            400
        );
    }

    #[test]
    fn the_first_of_a_parameter_that_comes_twice_counts() {
        assert_eq!(
            list("resourceVersion=7&resourceVersion=9"),
            Ok(Freshness::NotOlderThan(7))
        );
    }
}
