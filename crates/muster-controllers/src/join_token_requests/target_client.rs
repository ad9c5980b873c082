//! A client for a target cluster, made from what its kubeconfig says and nothing else: no environment, no files.
//!
//! It refuses to know what is asked with it.

use super::reference::{Access, Login};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::{Client, Config};
use std::time::Duration;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);

/// The client; a text for people when there cannot be one.
pub(crate) fn client_for(access: &Access) -> Result<Client, String> {
    let url = access.server.parse::<http::Uri>();
    let url = url.map_err(|error| format!("its server is no URL: {error}"))?;
    let mut config = Config::new(url);
    config.connect_timeout = Some(CONNECT);
    config.tls_server_name.clone_from(&access.tls_server_name);
    let authorities = access.ca.certificates().iter();
    config.root_cert = Some(authorities.map(|ca| ca.der().to_vec()).collect());
    match &access.login {
        Login::Token(token) => config.auth_info.token = Some(token.expose().clone().into()),
        Login::Certificate(certificate, key) => {
            config.auth_info.client_certificate_data = Some(STANDARD.encode(certificate));
            config.auth_info.client_key_data = Some(STANDARD.encode(key.expose()).into());
        }
    }
    Client::try_from(config).map_err(|error| error.to_string())
}
