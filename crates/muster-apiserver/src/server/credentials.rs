//! Keys and certificates while the server runs: files that somebody replaced are taken up, and what ends soon is
//! renewed. Open connections go on; whoever is trusted from now on is trusted on them as well.
//!
//! Refuses to know: what is in the files. One that cannot be used is told of, and what was good before stays.

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use serde_json::Value;
use tokio::{sync::watch, time::Instant};

use crate::{
    authn::Authenticator,
    bootstrap::{BootstrapSettings, Pki, PkiSettings, default_objects},
    serve::ServingTls,
};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// How often certificates are looked at that nobody touched: they end some day.
const RENEW_EVERY: Duration = Duration::from_secs(12 * 3600);
/// What may be replaced while the server runs.
const FILES: [&str; 4] = [
    "ca.crt",
    "front-proxy-ca.crt",
    "apiserver.crt",
    "apiserver.key",
];

/// Where the credentials come from and who goes by them.
pub(super) struct Credentials {
    pub(super) data_dir: PathBuf,
    pub(super) settings: PkiSettings,
    pub(super) tls: Arc<ServingTls>,
    pub(super) authenticator: Arc<Authenticator>,
    /// The default objects, some of which tell whom to trust.
    pub(super) objects: watch::Sender<Arc<Vec<Value>>>,
    pub(super) object_settings: BootstrapSettings,
}

/// What tells that a file was replaced: its inode, length and time of change.
type Stamp = Option<(u64, u64, SystemTime)>;

impl Credentials {
    /// Looks after them for as long as the server runs.
    pub(super) async fn keep(mut self) {
        // The first look is always a whole one: a file may have changed between its reading and now.
        let mut seen = None;
        let mut renewed = Instant::now();
        let mut failing = false;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = Some(self.stamps().await);
            if now == seen && !failing && renewed.elapsed() < RENEW_EVERY {
                continue;
            }
            let is_news = now != seen;
            // What was there before reading: whatever is written meanwhile, by renewing too, is looked at again.
            seen = now;
            failing = match self.load().await {
                Ok(()) => {
                    renewed = Instant::now();
                    false
                }
                Err(error) => {
                    if is_news || !failing {
                        tracing::error!(error, "keys and certificates cannot be taken up");
                    }
                    true
                }
            };
        }
    }

    async fn stamps(&self) -> [Stamp; FILES.len()] {
        let folder = self.data_dir.join("pki");
        let look = move || FILES.map(|name| stamp(&folder.join(name)));
        tokio::task::spawn_blocking(look).await.unwrap_or_default()
    }

    async fn load(&mut self) -> Result<(), String> {
        let (data_dir, settings) = (self.data_dir.clone(), self.settings.clone());
        let load = move || Pki::load_or_create(&data_dir, &settings, Timestamp::now());
        let pki = tokio::task::spawn_blocking(load)
            .await
            .map_err(|error| error.to_string())?
            .map_err(|error| chain(&error))?;
        let (clients, proxies) = (pki.ca_bundle(), pki.front_proxy_bundle());
        let server = pki.server();
        self.tls
            .replace(&server.certificate, &server.key, &[clients, proxies])
            .map_err(|error| chain(&error))?;
        self.authenticator.trust_clients(clients);
        self.authenticator.trust_front_proxies(proxies);
        if (
            &self.object_settings.ca,
            &self.object_settings.front_proxy_ca,
        ) != (clients, proxies)
        {
            tracing::info!("other certificate authorities are trusted from now on");
            self.object_settings.ca = clients.clone();
            self.object_settings.front_proxy_ca = proxies.clone();
            let objects = default_objects(&self.object_settings);
            self.objects.send_replace(Arc::new(objects));
        }
        Ok(())
    }
}

fn stamp(path: &Path) -> Stamp {
    let found = std::fs::metadata(path).ok()?;
    Some((found.ino(), found.len(), found.modified().ok()?))
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
