//! Claims about the layers.

use super::*;

fn environment(pairs: &[(&str, &str)]) -> Result<Settings, String> {
    let mut layers = Layers::of_defaults().unwrap();
    let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    layers.environment(pairs).map_err(|failure| failure.to_string())?;
    layers.settings().map_err(|failure| failure.to_string())
}

#[test]
fn a_variable_sets_what_it_names() {
    let settings = environment(&[
        ("BELLPUNCH_HTTP__LISTEN", "127.0.0.1:0"),
        ("BELLPUNCH_HTTP__HOSTS", "a.example, b.example"),
        ("BELLPUNCH_ENGINE__QUEUE_MAX", "7"),
        ("BELLPUNCH_SECURITY__ALLOW_PLAINTEXT", "true"),
    ])
    .unwrap();
    assert_eq!(settings.server.http.listen, "127.0.0.1:0");
    assert_eq!(settings.server.http.hosts, ["a.example", "b.example"]);
    assert_eq!(settings.engine.queue_max, 7);
    assert!(settings.server.security.allow_plaintext);
    assert!(settings.shown().contains("engine.queue_max = 7  # BELLPUNCH_ENGINE__QUEUE_MAX"));
}

#[test]
fn an_unknown_key_is_an_error_with_the_nearest_known_one() {
    let error = environment(&[("BELLPUNCH_HTTP__LISTN", "x")]).unwrap_err();
    assert!(error.ends_with("the nearest is BELLPUNCH_HTTP__LISTEN"), "{error}");
    let mut layers = Layers::of_defaults().unwrap();
    let error = layers.set("idempotency.require", Value::Boolean(true), "f").unwrap_err();
    let text =
        "f: there is no setting `idempotency.require`; the nearest is `idempotency.required`";
    assert_eq!(error.to_string(), text);
}

#[test]
fn a_wrong_value_is_an_error_that_names_its_origin() {
    for (name, value) in [
        ("BELLPUNCH_ENGINE__QUEUE_MAX", "many"),
        ("BELLPUNCH_ENGINE__QUEUE_MAX", "-1"),
        ("BELLPUNCH_HTTP__TIMEOUT", "10"),
        ("BELLPUNCH_SECURITY__ALLOW_PLAINTEXT", "yes"),
        ("BELLPUNCH_LOG__LEVEL", "loud"),
    ] {
        let error = environment(&[(name, value)]).unwrap_err();
        assert!(error.contains(name), "{error}");
    }
}

#[test]
fn counts_changes_of_letters() {
    assert_eq!(distance("kitten", "sitting"), 3);
    assert_eq!(distance("", "abc"), 3);
    assert_eq!(distance("same", "same"), 0);
}

#[test]
fn a_file_has_webhooks_and_an_unknown_key_in_one_is_an_error() {
    let read = |more: &str| {
        let mut layers = Layers::of_defaults().unwrap();
        let text = format!(
            "[[webhook]]\nname = \"a\"\nurl = \"https://a.example/\"\n\
             partitions = [\"acme/*\"]\nsecret_file = \"s\"\n{more}"
        );
        layers.text(&text, "f").unwrap();
        layers.settings().map_err(|failure| failure.to_string())
    };
    let settings = read("retry_max = \"1m\"\n[[webhook]]\nname = \"b\"").unwrap();
    let names: Vec<&str> =
        settings.server.webhook.iter().map(|webhook| webhook.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(settings.server.webhook[0].retry_max, "60s".parse().unwrap());
    assert!(settings.webhooks().unwrap_err().to_string().contains("secret_file"));
    let error = read("retry_mx = \"1m\"").unwrap_err();
    assert!(error.contains("retry_mx") && error.contains("retry_max"), "{error}");
}
