//! Encrypted connections, to a server whose certificate is made here.

use bellpunch_postgres::{ConnectErrorKind, PostgresConfig, PostgresStore};
use bellpunch_servers::{Identity, Postgres};
use bellpunch_store::{CommitResult, Store};

use crate::commits::put;
use crate::session::Session;
use crate::{execute, wait};

/// A server that has this certificate.
fn serve(server: &Postgres, Identity { certificate, key }: &Identity) {
    let _ = server.keep("server.crt", certificate);
    let _ = server.keep("server.key", key);
    execute(server, "postgres", "alter system set ssl = on");
    server.stop();
    server.restart();
}

#[test]
fn certificates_and_names_are_verified() {
    let server = Postgres::start();
    let plain = server.url("postgres");
    let require = PostgresConfig::new(format!("{plain}?sslmode=require"));
    let none = wait(PostgresStore::connect(&require)).unwrap_err();
    assert_eq!(none.kind(), ConnectErrorKind::Unreachable, "it has no TLS: {none}");

    let ours = Identity::of("IP:127.0.0.1");
    serve(&server, &ours);
    for mode in ["require", "verify-full", "prefer"] {
        let mut config = PostgresConfig::new(format!("{plain}?sslmode={mode}"));
        config.schema = format!("tls_{}", mode.replace('-', "_"));
        let unknown = wait(PostgresStore::connect(&config)).unwrap_err();
        assert_eq!(unknown.kind(), ConnectErrorKind::Unreachable, "{mode}: {unknown}");
        config.root_certificates = Some(Identity::of("IP:127.0.0.1").certificate);
        let other = wait(PostgresStore::connect(&config)).unwrap_err();
        assert_eq!(other.kind(), ConnectErrorKind::Unreachable, "{mode}: {other}");
        config.root_certificates = Some(ours.certificate.clone());
        let store = wait(PostgresStore::connect(&config)).unwrap();
        let result = wait(store.commit(vec![put("a", 0)]));
        assert!(matches!(result[..], [CommitResult::Committed { .. }]), "{result:?}");
        let session = Session::new(plain.clone());
        let encrypted = session.ask(
            "select count(*) > 0 from pg_stat_ssl join pg_stat_activity using (pid)
             where ssl and application_name = 'bellpunch'",
        );
        assert_eq!(encrypted, "t", "{mode}");
    }

    let elsewhere = Identity::of("DNS:elsewhere.example");
    serve(&server, &elsewhere);
    let mut config = PostgresConfig::new(format!("{plain}?sslmode=verify-full"));
    config.root_certificates = Some(elsewhere.certificate);
    let name = wait(PostgresStore::connect(&config)).unwrap_err();
    assert_eq!(name.kind(), ConnectErrorKind::Unreachable, "another's name: {name}");
    config.root_certificates = Some(b"none".to_vec());
    let empty = wait(PostgresStore::connect(&config)).unwrap_err();
    assert_eq!(empty.kind(), ConnectErrorKind::Config, "{empty}");
}
