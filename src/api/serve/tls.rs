//! The certificate that the API is served with, read again when its files change.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum_server::tls_rustls::RustlsConfig;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use tokio::time::{MissedTickBehavior, interval};

use super::Tls;
use crate::telemetry::WorkerTelemetry;

/// A certificate that is served, and the files that it was read from.
#[derive(Debug)]
pub(super) struct Certificate {
    files: Tls,
    serving: RustlsConfig,
    /// Of what was found in the files last.
    seen: [u8; 32],
}

/// What a look at the files found.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Look {
    /// What was found before, or no files: while they are replaced one of them may be away.
    Same,
    /// A certificate that is served from now on.
    Renewed,
    /// Something that is no use; what was served before stays.
    Kept(String),
}

impl Certificate {
    /// Reads certificate and key.
    ///
    /// # Errors
    /// What was found and what was expected, as a sentence.
    pub(super) fn read(files: Tls) -> Result<Certificate, String> {
        let (certificate, key) = (bytes(&files.certificate)?, bytes(&files.key)?);
        let config = config(&files, &certificate, &key)?;
        Ok(Certificate {
            files,
            serving: RustlsConfig::from_config(Arc::new(config)),
            seen: digest(&certificate, &key),
        })
    }

    /// What connections are served with; it changes with the certificate.
    pub(super) fn config(&self) -> RustlsConfig {
        self.serving.clone()
    }

    /// Looks at the files every so often, for as long as it is polled.
    pub(super) async fn follow(mut self, every: Duration) {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match self.look() {
                Look::Same => {}
                Look::Renewed => WorkerTelemetry.certificate_renewed(&self.files.certificate),
                Look::Kept(reason) => WorkerTelemetry.certificate_kept(&reason),
            }
        }
    }

    fn look(&mut self) -> Look {
        let (Ok(certificate), Ok(key)) = (bytes(&self.files.certificate), bytes(&self.files.key)) else {
            return Look::Same;
        };
        let found = digest(&certificate, &key);
        if std::mem::replace(&mut self.seen, found) == found {
            return Look::Same;
        }
        match config(&self.files, &certificate, &key) {
            Ok(config) => {
                self.serving.reload_from_config(Arc::new(config));
                Look::Renewed
            }
            Err(reason) => Look::Kept(reason),
        }
    }
}

fn config(files: &Tls, certificate: &[u8], key: &[u8]) -> Result<ServerConfig, String> {
    let (certificate_file, key_file) = (files.certificate.display(), files.key.display());
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
    let chain = chain.map_err(|error| format!("{certificate_file} holds no certificate (PEM): {error}"))?;
    if chain.is_empty() {
        return Err(format!(
            "{certificate_file} holds no certificate; expected one or several as PEM"
        ));
    }
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|error| format!("{key_file} holds no key that can be read (PEM, not encrypted): {error}"))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| format!("TLS can't be set up: {error}"))?;
    let config = builder.with_no_client_auth().with_single_cert(chain, key);
    let mut config = config.map_err(|error| format!("{certificate_file} and {key_file} don't go together: {error}"))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn bytes(file: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|error| format!("{} can't be read: {error}", file.display()))
}

fn digest(certificate: &[u8], key: &[u8]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for part in [certificate, key] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::serve::tests::CertificateFiles;

    #[test]
    fn what_is_no_use_is_said_once_and_changes_nothing() {
        let files = CertificateFiles::new("look");
        let mut certificate = Certificate::read(files.files.clone()).unwrap();
        let first = certificate.config().get_inner();
        assert_eq!(certificate.look(), Look::Same);
        std::fs::write(&files.files.certificate, "nothing").unwrap();
        assert!(matches!(certificate.look(), Look::Kept(reason) if reason.contains("holds no certificate")));
        assert_eq!(certificate.look(), Look::Same);
        std::fs::remove_file(&files.files.key).unwrap();
        assert_eq!(certificate.look(), Look::Same);
        assert!(Arc::ptr_eq(&first, &certificate.config().get_inner()));
        files.write();
        assert_eq!(certificate.look(), Look::Renewed);
        assert!(!Arc::ptr_eq(&first, &certificate.config().get_inner()));
    }
}
