//! Over TLS, with a certificate that the configuration names.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;

use bellpunch_redis::{ConnectErrorKind, RedisConfig};
use bellpunch_servers::Redis;

use crate::{committed, connect, puts, version};

#[test]
fn talks_to_a_server_whose_certificate_it_was_given_and_to_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (key, certificate) = (path("key.pem"), path("certificate.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-nodes", "-days", "2", "-subj", "/CN=bellpunch", "-keyout", &key])
        .args(["-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-out", &certificate])
        .output();
    let made = made.expect("openssl is there wherever Redis speaks TLS");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let port = port.to_string();
    let server = Redis::start_with(&[
        "--appendonly",
        "yes",
        "--appendfsync",
        "always",
        "--tls-port",
        &port,
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &certificate,
        "--tls-auth-clients",
        "no",
    ]);
    let mut config = RedisConfig::new(format!("rediss://127.0.0.1:{port}/0"));
    let error = connect(&config).unwrap_err();
    assert_eq!(error.kind(), ConnectErrorKind::Unreachable, "no system trusts it: {error}");
    config.root_certificates = Some(std::fs::read_to_string(&certificate).unwrap().into_bytes());
    let store = connect(&config).unwrap();
    committed(&store, &puts(1, &[("a", 0)], b"a"));
    assert_eq!(version(&store, "a"), 1);
    assert_eq!(server.cli(&["zcard", "bellpunch:{p}:i"]), "1");
}
