//! What is shown of a URL.

use super::*;

#[test]
fn no_password_is_shown() {
    for (url, shown) in [
        ("disk:./data", "disk:./data"),
        ("memory:", "memory:"),
        ("postgres://h/db", "postgres://h/db"),
        ("postgres://ann@h:5432/db", "postgres://ann@h:5432/db"),
        ("postgres://ann:pw@h/db?sslmode=require", "postgres://ann:***@h/db?sslmode=require"),
        ("postgres://ann:p/w@x@h/db", "postgres://ann:***@h/db"),
        ("postgres://ann:p?w@h/db", "postgres://***@h/db"),
        (
            "postgresql://h/db?user=ann&password=pw&a=b",
            "postgresql://h/db?user=ann&password=***&a=b",
        ),
        ("redis://:pw@h:6379/1", "redis://:***@h:6379/1"),
        ("redis://pw@h", "redis://***@h"),
        ("redis+cluster://u:pw@h1:1,h2:2", "redis+cluster://u:***@h1:1,h2:2"),
        (
            "redis+sentinel://u:pw@h1,h2/m?sentinel_password=x",
            "redis+sentinel://u:***@h1,h2/m?sentinel_password=***",
        ),
    ] {
        assert_eq!(redacted(url), shown, "{url}");
    }
}

#[test]
fn what_others_say_of_a_url_is_scrubbed() {
    let url = "postgres://ann:s3cret@h/db";
    let said = format!("cannot reach {url}: the password \"s3cret\" is wrong");
    let scrubbed = scrubbed(&said, url);
    assert_eq!(scrubbed, "cannot reach postgres://ann:***@h/db: the password \"***\" is wrong");
}

#[test]
fn a_webhook_is_shown_with_its_host_alone() {
    let text = r#"webhook = [{ name = "w", url = "https://hooks.example/T0/secret?x=y" }]"#;
    let table: toml::Table = text.parse().unwrap();
    let shown = of_setting("webhook", &table["webhook"]).to_string();
    assert!(shown.contains("https://hooks.example/***") && !shown.contains("secret"), "{shown}");
}
