//! The way to the server, encrypted to it alone.
//!
//! Invariant: with TLS the server's certificate and name are verified, always. Why the provider is
//! named: a process may have several, and the choice would be somebody else's.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::config::{ConnectError, ConnectErrorKind, PostgresConfig};

/// How connections begin: with these roots, or the system's.
pub(crate) fn connector(config: &PostgresConfig) -> Result<MakeRustlsConnect, ConnectError> {
    let mut roots = RootCertStore::empty();
    match &config.root_certificates {
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|cause| wrong(&cause))?;
                roots.add(certificate).map_err(|cause| wrong(&cause))?;
            }
            if roots.is_empty() {
                return Err(wrong(&"there is none in them"));
            }
        }
        None => {
            // Without any, only a connection that asks for TLS fails, and says so.
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|cause| wrong(&cause))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(client))
}

fn wrong(cause: &dyn std::fmt::Display) -> ConnectError {
    let message = format!("the root certificates cannot be used: {cause}");
    ConnectError::new(ConnectErrorKind::Config, message)
}
