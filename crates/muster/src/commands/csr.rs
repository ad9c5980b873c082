//! `muster csr`: lists certificate requests and decides on them, as `kubectl certificate` does.
//! A request that is decided already is left as it is.

use crate::args::csr::{Csr, Verb};
use crate::cluster::{self, api_failure};
use crate::columns;
use crate::exit::{CLUSTER, Failure};
use crate::printer::{Output, Printer};
use jiff::Timestamp;
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::api::{Api, ListParams, PostParams};
use muster_identity::{Csr as Request, human_duration};

type Requests = Api<CertificateSigningRequest>;

/// What a person decided.
struct Verdict<'a> {
    condition: &'static str,
    opposite: &'static str,
    done: &'static str,
    message: &'a str,
}

/// Carries out `muster csr …`.
pub(crate) async fn run(csr: Csr, printer: Printer) -> Result<(), Failure> {
    let cluster = cluster::connect(csr.kubeconfig.as_deref()).await?;
    let requests: Requests = Api::all(cluster.client);
    match &csr.verb {
        Verb::List => list(&requests, printer).await,
        Verb::Approve { names } => {
            let verdict = Verdict {
                condition: "Approved",
                opposite: "Denied",
                done: "approved",
                message: "This CSR was approved by muster csr approve.",
            };
            decide_all(&requests, names, &verdict, printer).await
        }
        Verb::Deny { names, reason } => {
            let verdict = Verdict {
                condition: "Denied",
                opposite: "Approved",
                done: "denied",
                message: reason,
            };
            decide_all(&requests, names, &verdict, printer).await
        }
    }
}

async fn list(requests: &Requests, printer: Printer) -> Result<(), Failure> {
    let found = requests
        .list(&ListParams::default())
        .await
        .map_err(|error| api_failure("the requests could not be listed", &error))?;
    if printer.output() != Output::Text {
        found.items.iter().for_each(|request| printer.json(request));
        return Ok(());
    }
    let now = Timestamp::now();
    let head = [
        "NAME",
        "AGE",
        "REQUESTOR",
        "SUBJECT",
        "SIGNERNAME",
        "CONDITION",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(found.items.iter().map(|request| row(request, now)));
    if rows.len() > 1 {
        printer.text(columns::aligned(&rows));
    }
    Ok(())
}

fn row(request: &CertificateSigningRequest, now: Timestamp) -> [String; 6] {
    let created = request.creation_timestamp().map_or(now, |at| at.0);
    let subject = Request::from_pem(&request.spec.request.0).map_or_else(
        |error| format!("<{error}>"),
        |asked| asked.subject().common_name.clone(),
    );
    [
        request.name_any(),
        human_duration(now.duration_since(created)),
        request.spec.username.clone().unwrap_or_default(),
        subject,
        request.spec.signer_name.clone(),
        condition(request),
    ]
}

/// As kubectl's column: the conditions, then `Issued` once there is a certificate.
fn condition(request: &CertificateSigningRequest) -> String {
    let status = request.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let mut words: Vec<&str> = conditions
        .into_iter()
        .flatten()
        .map(|condition| condition.type_.as_str())
        .collect();
    if words.is_empty() {
        words.push("Pending");
    }
    if status.is_some_and(|status| status.certificate.is_some()) {
        words.push("Issued");
    }
    words.join(",")
}

async fn decide_all(
    requests: &Requests,
    names: &[String],
    verdict: &Verdict<'_>,
    printer: Printer,
) -> Result<(), Failure> {
    for name in names {
        decide(requests, name, verdict).await?;
        printer.line(format!("certificatesigningrequest {name} {}", verdict.done));
    }
    Ok(())
}

/// Writes the verdict; somebody else's write in between is read and respected.
async fn decide(requests: &Requests, name: &str, verdict: &Verdict<'_>) -> Result<(), Failure> {
    loop {
        let mut request = requests
            .get(name)
            .await
            .map_err(|error| api_failure(&format!("request {name} cannot be read"), &error))?;
        if has(&request, verdict.condition) {
            return Ok(());
        }
        if has(&request, verdict.opposite) {
            let was = verdict.opposite.to_lowercase();
            return Err(Failure::new(
                "conflict",
                CLUSTER,
                format!("request {name} is already {was}"),
            )
            .cure("a decision cannot be taken back; let the node make a new request"));
        }
        add(&mut request, verdict);
        let written = requests
            .replace_subresource("approval", name, &PostParams::default(), &request)
            .await;
        match written {
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => {
                return Err(api_failure(
                    &format!("request {name} was not {}", verdict.done),
                    &error,
                ));
            }
            Ok(_) => return Ok(()),
        }
    }
}

fn has(request: &CertificateSigningRequest, type_: &str) -> bool {
    let conditions = request
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == type_)
}

fn add(request: &mut CertificateSigningRequest, verdict: &Verdict<'_>) {
    let now = Timestamp::now();
    let conditions = request
        .status
        .get_or_insert_default()
        .conditions
        .get_or_insert_default();
    conditions.push(CertificateSigningRequestCondition {
        type_: verdict.condition.to_owned(),
        status: "True".to_owned(),
        reason: Some("MusterDecided".to_owned()),
        message: Some(verdict.message.to_owned()),
        last_update_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    });
}
