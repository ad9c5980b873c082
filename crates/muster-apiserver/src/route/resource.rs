//! Requests on resources: the verbs, the subresources that have their own way, and what answers look like.
//!
//! Refuses to know: what the registry does with them.

use std::sync::Arc;

use http::StatusCode;
use muster_machinery::{
    resources::{ALL_VERBS, Nature, Resource},
    status::Status,
};

use super::{Authorised, Router, found::Found};
use crate::{
    custom::{CustomVersion, DEFINITIONS, GROUP},
    registry::{ListOptions, ObjectList, Outcome, Refusal, WriteOptions},
    request::{ResourceRequest, Verb, query_value},
    reviews::{self, ReviewDeps},
    wire::{self, Encoder, Response},
};

/// Subresources that stream to and from a kubelet.
const STREAMS: [&str; 5] = ["exec", "attach", "portforward", "log", "proxy"];

impl Router {
    /// Answers a request on a resource.
    pub(super) async fn resource(&self, request: Authorised) -> Result<Response, Refusal> {
        let found = self.find(request)?;
        if let Some(deprecation) = found.custom.as_ref().and_then(CustomVersion::deprecation) {
            found.request.notes.warn(deprecation);
        }
        let is_definition =
            (&*found.resource.group, &*found.resource.plural) == (GROUP, DEFINITIONS);
        let verb = &found.request.info.verb;
        let changes = !matches!(verb, Verb::Get | Verb::List | Verb::Watch);
        let answer = self.answer(found).await;
        if is_definition && changes && answer.is_ok() {
            // What a definition brings is there for the next request.
            self.keeper.catch_up().await;
        }
        answer
    }

    async fn answer(&self, found: Found) -> Result<Response, Refusal> {
        let verb = found.request.info.verb.clone();
        match found.resource.nature {
            Nature::Virtual => return self.ask(found).await,
            Nature::Computed => return computed(found).await,
            Nature::Stored => {}
        }
        match (found.sub_name(), &verb) {
            (sub, _) if STREAMS.contains(&sub) => Err(not_here(sub)),
            ("scale", _) => self.scale(found).await,
            ("binding", _) => self.bind(found).await,
            ("eviction", _) => self.evict(found).await,
            ("token", _) => self.token(found).await,
            (_, Verb::Get) => self.get(found).await,
            (_, Verb::List) => self.list(found).await,
            (_, Verb::Watch) => self.watch(found).await,
            (_, Verb::Create) => self.create(found).await,
            (_, Verb::Update) => self.update(found).await,
            (_, Verb::Patch) => self.patch(found).await,
            (_, Verb::Delete) => self.delete(found).await,
            (_, Verb::DeleteCollection) => self.delete_collection(found).await,
            _ => Err(Status::method_not_allowed().into()),
        }
    }

    /// Finds the resource and checks that it has the verb.
    fn find(&self, request: Authorised) -> Result<Found, Refusal> {
        let unknown = || Refusal::from(Status::unknown_resource());
        let asked = request.info.resource.clone().ok_or_else(unknown)?;
        let (resource, custom) = self
            .catalogue
            .look_up(&asked.group, &asked.version, &asked.resource)
            .ok_or_else(unknown)?;
        for part in [&asked.namespace, &asked.name].into_iter().flatten() {
            check_segment(part)?;
        }
        // A Namespace counts as being in itself and in no other: rights in one give none on another.
        let is_in_itself = asked.group.is_empty()
            && asked.resource == "namespaces"
            && asked.namespace == asked.name;
        let misplaced = !resource.namespaced && asked.namespace.is_some() && !is_in_itself;
        if misplaced {
            return Err(unknown());
        }
        let sub = match &asked.subresource {
            None => None,
            Some(name) => Some(resource.subresource(name).ok_or_else(unknown)?.clone()),
        };
        let verb = request.info.verb.as_str();
        let has_verb = match &sub {
            Some(sub) => sub.has_verb(verb),
            None => resource.has_verb(verb),
        };
        // A definition on its way out advertises less than there is: what its objects wait for must be possible.
        let is_ending = custom.is_some() && sub.is_none() && !has_verb && ALL_VERBS.contains(&verb);
        if is_ending && request.info.verb == Verb::Create {
            let why = "create not allowed while custom resource definition is terminating";
            return Err(Status::method_not_allowed().with_message(why).into());
        }
        let has_verb = has_verb || is_ending;
        let needs_namespace = resource.namespaced
            && asked.namespace.is_none()
            && !matches!(request.info.verb, Verb::List | Verb::Watch);
        if needs_namespace && asked.name.is_some() {
            // There is no such path at all; the one without a name exists, for lists.
            return Err(unknown());
        }
        if !has_verb || needs_namespace || !fits_path(&asked, &request.info.verb, sub.is_some()) {
            return Err(Status::method_not_allowed().into());
        }
        let (group, version) = &resource.storage_group_version;
        let stored = match self.catalogue.find(group, version, &resource.plural) {
            Some(stored) if custom.is_none() => stored,
            _ => Arc::clone(&resource),
        };
        Ok(Found {
            request,
            asked,
            resource,
            stored,
            sub,
            custom,
        })
    }

    async fn get(&self, found: Found) -> Result<Response, Refusal> {
        let encoder = found.encoder()?;
        let version = query_value(found.request.query(), "resourceVersion").unwrap_or_default();
        let object = self.registry.get(&found.call(), &version).await?;
        encoder.object(StatusCode::OK, &object)
    }

    async fn list(&self, found: Found) -> Result<Response, Refusal> {
        let encoder = found.encoder()?;
        let options = ListOptions::of_list(found.request.query(), &found.resource)?;
        let list = self.registry.list(&found.call(), &options).await?;
        encoder.list(list).await
    }

    async fn watch(&self, found: Found) -> Result<Response, Refusal> {
        let encoder = found.encoder()?;
        let call = found.call();
        let options = ListOptions::of_watch(found.request.query(), &found.resource, call.name())?;
        match self.registry.follow(&call, &options).await {
            Ok(follower) => Ok(encoder.watch(follower, found.request.notes.tally())),
            // Watching clients look for these among the events: too old, or not there yet.
            Err(refusal) if matches!(refusal.code(), 410 | 504) => {
                Ok(encoder.ended_watch(&refusal))
            }
            Err(refusal) => Err(refusal),
        }
    }

    async fn create(&self, mut found: Found) -> Result<Response, Refusal> {
        let encoder = found.encoder()?;
        let options = found.write_options()?;
        let decoded = found.read_stored(&options).await?;
        let object = self
            .registry
            .create(&found.call(), decoded.object, &options)
            .await?;
        warn(
            encoder.object(StatusCode::CREATED, &object)?,
            &decoded.warnings,
        )
    }

    async fn update(&self, mut found: Found) -> Result<Response, Refusal> {
        let encoder = found.encoder()?;
        let options = found.write_options()?;
        let decoded = found.read_stored(&options).await?;
        let (outcome, made) = self
            .registry
            .update(&found.call(), decoded.object, &options)
            .await?;
        warn(
            encoder.object(made_or_changed(made), &outcome.object())?,
            &decoded.warnings,
        )
    }

    async fn patch(&self, mut found: Found) -> Result<Response, Refusal> {
        let encoder = found.encoder()?;
        if found.is_apply() {
            return self.apply(found, encoder).await;
        }
        let kind = found.patch_kind()?;
        let options = found.write_options()?;
        let body = found.request.read_body().await?;
        let (outcome, warnings) = self
            .registry
            .patch(&found.call(), kind, &body, &options)
            .await?;
        warn(
            encoder.object(StatusCode::OK, &outcome.object())?,
            &warnings,
        )
    }

    async fn apply(&self, mut found: Found, encoder: Encoder) -> Result<Response, Refusal> {
        let options = found.write_options()?;
        let decoded = found.read_config(&options).await?;
        let (outcome, made) = self
            .registry
            .apply(&found.call(), &decoded.object, &options)
            .await?;
        warn(
            encoder.object(made_or_changed(made), &outcome.object())?,
            &decoded.warnings,
        )
    }

    async fn delete(&self, mut found: Found) -> Result<Response, Refusal> {
        let encoder = found.encoder()?;
        let options = found.delete_options().await?;
        match self.registry.delete(&found.call(), &options).await? {
            Outcome::Stored(object) => encoder.object(StatusCode::OK, &object),
            Outcome::Removed(object) if answers_with_object(&found.resource) => {
                encoder.object(StatusCode::OK, &object)
            }
            Outcome::Removed(object) => {
                let value = object.value().map_err(Status::internal)?;
                let uid = muster_machinery::meta::uid(&value);
                let resource = found.resource.group_resource();
                let status = Status::deleted(resource, object.name(), uid);
                encoder.value(StatusCode::OK, &status.to_value())
            }
        }
    }

    async fn delete_collection(&self, mut found: Found) -> Result<Response, Refusal> {
        let encoder = found.encoder()?;
        let selected = ListOptions::of_list(found.request.query(), &found.resource)?;
        let options = found.delete_options().await?;
        let call = found.call();
        let deleted = self
            .registry
            .delete_collection(&call, &selected, &options)
            .await?;
        encoder.list(deleted).await
    }

    async fn scale(&self, mut found: Found) -> Result<Response, Refusal> {
        let encoder = found.encoder()?;
        let options = found.write_options()?;
        let scale = match found.request.info.verb {
            Verb::Get => self.registry.scale(&found.call()).await?,
            Verb::Update => {
                let scale = found.read_object(&options).await?.object;
                self.registry
                    .set_scale(&found.call(), &scale, &options)
                    .await?
            }
            _ if found.is_apply() => {
                let config = found.read_config(&options).await?.object;
                self.registry
                    .apply_scale(&found.call(), &config, &options)
                    .await?
            }
            _ => {
                let kind = found.patch_kind()?;
                let body = found.request.read_body().await?;
                self.registry
                    .patch_scale(&found.call(), kind, &body, &options)
                    .await?
            }
        };
        encoder.scale(&scale)
    }

    async fn bind(&self, mut found: Found) -> Result<Response, Refusal> {
        let encoder = found.encoder()?;
        let options = found.write_options()?;
        let binding = found.read_object(&options).await?.object;
        let status = self.registry.bind(&found.call(), binding, &options).await?;
        encoder.value(StatusCode::CREATED, &status.to_value())
    }

    async fn evict(&self, mut found: Found) -> Result<Response, Refusal> {
        let encoder = found.encoder()?;
        let options = found.write_options()?;
        let eviction = found.read_object(&options).await?.object;
        let status = self
            .registry
            .evict(&found.call(), eviction, &options)
            .await?;
        encoder.value(StatusCode::CREATED, &status.to_value())
    }

    async fn token(&self, mut found: Found) -> Result<Response, Refusal> {
        let encoder = found.encoder()?;
        let options = found.write_options()?;
        let request = found.read_object(&options).await?.object;
        let answer = self
            .registry
            .issue_token(&found.call(), request, &options)
            .await?;
        encoder.value(StatusCode::CREATED, &answer)
    }

    /// Answers what is asked and not stored: reviews, and bindings posted to their own collection.
    async fn ask(&self, mut found: Found) -> Result<Response, Refusal> {
        let options = found.write_options()?;
        if found.resource.group.is_empty() && found.resource.plural == "bindings" {
            return self.bind_by_body(found, &options).await;
        }
        let encoder = found.encoder()?;
        let body = found.read_object(&options).await?;
        let deps = ReviewDeps {
            authenticator: &self.authenticator,
            authorizer: &self.authorizer,
            now: found.request.now,
        };
        let answer = reviews::review(&found.asked, &body.object, &found.request.user, &deps)?;
        warn(encoder.value(StatusCode::CREATED, &answer)?, &body.warnings)
    }

    /// `POST …/bindings` names its pod in the body.
    async fn bind_by_body(
        &self,
        mut found: Found,
        options: &WriteOptions,
    ) -> Result<Response, Refusal> {
        let encoder = found.encoder()?;
        let binding = found.read_object(options).await?.object;
        let pods = self
            .catalogue
            .find("", "v1", "pods")
            .ok_or_else(|| Refusal::from(Status::internal("pods are not served")))?;
        found.asked.resource = "pods".to_owned();
        found.asked.subresource = Some("binding".to_owned());
        found.asked.name = Some(muster_machinery::meta::name(&binding).to_owned());
        found.sub = pods.subresource("binding").cloned();
        found.stored = Arc::clone(&pods);
        found.resource = pods;
        let status = self.registry.bind(&found.call(), binding, options).await?;
        encoder.value(StatusCode::CREATED, &status.to_value())
    }
}

/// The code of a write that may make its object.
const fn made_or_changed(made: bool) -> StatusCode {
    if made {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    }
}

/// What can be no part of a path can be no name either (`path.IsValidPathSegmentName` upstream).
fn check_segment(name: &str) -> Result<(), Refusal> {
    if matches!(name, "." | "..") || name.contains(['/', '%', '\0']) {
        return Err(Status::bad_request(format!("invalid name {name:?} in the path")).into());
    }
    Ok(())
}

/// Whether path and verb go together: objects have a name, collections have none.
fn fits_path(asked: &ResourceRequest, verb: &Verb, sub: bool) -> bool {
    match verb {
        Verb::Get | Verb::Update | Verb::Patch | Verb::Delete => asked.name.is_some(),
        Verb::Create => asked.name.is_some() == sub,
        _ => true,
    }
}

/// Component statuses: this server has no components that it asks.
async fn computed(found: Found) -> Result<Response, Refusal> {
    let encoder = found.encoder()?;
    match &found.asked.name {
        Some(name) => Err(Status::not_found(found.resource.group_resource(), name).into()),
        None => encoder.list(ObjectList::empty()).await,
    }
}

fn not_here(sub: &str) -> Refusal {
    Status::service_unavailable(format!("{sub} is not implemented by this server"))
        .with_code(501)
        .into()
}

/// Kinds whose deletion is answered with the object (`ReturnDeletedObject` upstream).
fn answers_with_object(resource: &Resource) -> bool {
    match &*resource.group {
        "" => matches!(
            &*resource.plural,
            "namespaces"
                | "pods"
                | "services"
                | "serviceaccounts"
                | "persistentvolumes"
                | "persistentvolumeclaims"
                | "podtemplates"
                | "resourcequotas"
        ),
        "resource.k8s.io" => true,
        "storage.k8s.io" => resource.plural != "csistoragecapacities",
        _ => false,
    }
}

/// Adds warnings for people.
fn warn(mut response: Response, warnings: &[String]) -> Result<Response, Refusal> {
    wire::warn(response.headers_mut(), warnings);
    Ok(response)
}
