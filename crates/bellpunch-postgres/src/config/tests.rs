use std::time::Duration;

use tokio_postgres::config::{SslMode, TargetSessionAttrs};

use super::{ConnectErrorKind, PostgresConfig, parse};

fn refused(config: &PostgresConfig) -> String {
    let error = parse(config).unwrap_err();
    assert_eq!(error.kind(), ConnectErrorKind::Config);
    error.to_string()
}

#[test]
fn reads_addresses() {
    let one = parse(&PostgresConfig::new("postgres://u:p@h:5/d?sslmode=verify-full")).unwrap();
    assert_eq!(one.get_ssl_mode(), SslMode::Require);
    assert_eq!(one.get_target_session_attrs(), TargetSessionAttrs::Any);
    assert_eq!(one.get_application_name(), Some("bellpunch"));
    assert_eq!(
        one.get_options(),
        Some(
            "-c default_transaction_isolation=read\\ committed -c statement_timeout=5000 \
             -c lock_timeout=2500"
        )
    );
    let two = PostgresConfig::new("postgresql://a:1,b:2/d?sslmode=disable&options=-c%20jit=off");
    let two = parse(&two).unwrap();
    assert_eq!(two.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
    assert_eq!(two.get_ssl_mode(), SslMode::Disable);
    assert!(two.get_options().unwrap().starts_with("-c jit=off -c default_"));
}

#[test]
fn refuses_what_it_does_not_know() {
    for url in [
        "",
        "mysql://h/d",
        "host=h dbname=d",
        "postgres://h/d?sslmode=verify-ca",
        "postgres://h/d?colour=red",
    ] {
        let _ = refused(&PostgresConfig::new(url));
    }
    let mut rooted = PostgresConfig::new("postgres://h/d?sslrootcert=ca.pem");
    assert!(refused(&rooted).contains("root certificates"));
    rooted.root_certificates = Some(Vec::new());
    assert!(parse(&rooted).is_ok());
    let mut none = PostgresConfig::new("postgres://h/d");
    none.connections_max = 0;
    let _ = refused(&none);
    let mut at_once = PostgresConfig::new("postgres://h/d");
    at_once.timeout = Duration::ZERO;
    let _ = refused(&at_once);
}

#[test]
fn schemas_are_plain_names() {
    let mut config = PostgresConfig::new("postgres://h/d");
    for schema in ["", "1a", "A", "a-b", "a\"b", "a b", "pg_a", "é", &"a".repeat(64)] {
        config.schema = schema.to_owned();
        assert!(refused(&config).contains("schema"), "{schema}");
    }
    for schema in ["a", "_", "bellpunch_2", "user", &"a".repeat(63)] {
        config.schema = schema.to_owned();
        assert!(parse(&config).is_ok(), "{schema}");
    }
}

#[test]
fn passwords_are_not_shown() {
    let config = PostgresConfig::new("postgres://u:secret@h/d");
    assert!(!format!("{config:?}").contains("secret"));
}
