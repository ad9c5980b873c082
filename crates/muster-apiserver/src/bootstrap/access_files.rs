//! The administrators' kubeconfigs beside the `pki` folder: `admin.kubeconfig` and
//! `super-admin.kubeconfig`, kubeadm's `admin.conf` and `super-admin.conf`.
//!
//! Refuses to know: who reads them. One that still fits is left as it is, down to the byte.

use jiff::Timestamp;
use muster_identity::{
    Certificate, Kubeconfig, PrivateKey,
    kubeconfig::{Material, Resolved},
};

use super::{
    pki::{Credential, Pki, PkiError, PkiSettings, Wanted, put, read},
    write,
};
use crate::{authz::MASTERS, entropy::system_entropy};

/// The file of the administrator.
pub(super) const ADMIN: &str = "admin.kubeconfig";
/// The file for emergencies.
pub(super) const SUPER_ADMIN: &str = "super-admin.kubeconfig";

/// The group that kubeadm binds to cluster-admin.
const ADMINS: &str = "kubeadm:cluster-admins";

/// Writes both files unless they fit.
pub(super) fn write_all(pki: &Pki, settings: &PkiSettings, now: Timestamp) -> Result<(), PkiError> {
    let admin = Wanted::client("kubernetes-admin", [ADMINS]);
    write_one(
        pki,
        settings,
        ("admin", &admin),
        &pki.admin_kubeconfig(),
        now,
    )?;
    let super_admin = Wanted::client("kubernetes-super-admin", [MASTERS]);
    write_one(
        pki,
        settings,
        ("super-admin", &super_admin),
        &pki.super_admin_kubeconfig(),
        now,
    )
}

fn write_one(
    pki: &Pki,
    settings: &PkiSettings,
    (name, wanted): (&'static str, &Wanted),
    path: &std::path::Path,
    now: Timestamp,
) -> Result<(), PkiError> {
    let server = settings.server.url();
    let ca = pki.ca_bundle();
    let found = read(path)?
        .and_then(|text| Kubeconfig::parse(&text).ok())
        .and_then(|config| config.resolve().ok());
    let fits = found.as_ref().is_some_and(|found| {
        found.cluster.server == server
            && found.cluster.certificate_authority == Some(Material::Data(ca.to_pem().into_bytes()))
            && credential(found).is_some_and(|credential| {
                wanted.is_met_by(&credential, pki.authority().certificate(), now)
            })
    });
    if fits {
        return Ok(());
    }
    let key = PrivateKey::generate(&mut system_entropy()).map_err(|source| PkiError::Key {
        path: path.to_owned(),
        source,
    })?;
    let issued = wanted.issue(pki.authority(), key, name, now)?;
    let config = Kubeconfig::for_client_certificate(
        &server,
        ca,
        &format!("kubernetes-{name}"),
        &issued.certificate.to_pem(),
        &issued.key.to_pem(),
    );
    put(path, config.to_yaml().expose().as_bytes(), write::SECRET)
}

fn credential(found: &Resolved) -> Option<Credential> {
    let (Some(Material::Data(certificate)), Some(Material::Data(key))) =
        (&found.user.client_certificate, &found.user.client_key)
    else {
        return None;
    };
    Some(Credential {
        certificate: Certificate::from_pem(certificate).ok()?,
        key: PrivateKey::from_pem(key.expose()).ok()?,
    })
}
