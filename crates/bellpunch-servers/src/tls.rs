//! Certificates for servers that speak TLS.

use std::process::Command;

/// A certificate signed by itself, and its key, in PEM.
///
/// ```no_run
/// let identity = bellpunch_servers::Identity::of("IP:127.0.0.1");
/// assert!(identity.certificate.starts_with(b"-----BEGIN CERTIFICATE-----"));
/// ```
#[derive(Clone, Debug)]
pub struct Identity {
    /// Whoever trusts this one trusts its server.
    pub certificate: Vec<u8>,
    /// The server's secret.
    pub key: Vec<u8>,
}

impl Identity {
    /// Makes one for a name as certificates say it: `IP:127.0.0.1`, `DNS:localhost`.
    ///
    /// # Panics
    /// If there is no openssl, which is there wherever the servers speak TLS; with what it said.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let folder = tempfile::tempdir().expect("there is a folder for temporary files");
        let (key, certificate) = (folder.path().join("key"), folder.path().join("certificate"));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-nodes", "-days", "2", "-subj", "/CN=bellpunch"])
            .args(["-addext", &format!("subjectAltName={name}")])
            .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .output()
            .expect("openssl is there wherever the servers speak TLS");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let read = |path| std::fs::read(path).expect("openssl made it");
        Self { certificate: read(&certificate), key: read(&key) }
    }
}
