//! Claims about settings and pauses.

use super::*;
use crate::config::Span;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn config() -> WebhookConfig {
    WebhookConfig {
        name: "alerts".to_owned(),
        url: "https://hooks.example/bell".to_owned(),
        partitions: vec!["acme/*".to_owned()],
        ..WebhookConfig::default()
    }
}

fn made(config: &WebhookConfig) -> Result<Webhook, String> {
    let files = WebhookFiles { secret: SECRET, root_certificates: None };
    Webhook::new(config, files, &SecurityConfig::default()).map_err(|error| error.to_string())
}

#[test]
fn what_is_wrong_is_refused_with_its_reason() {
    assert!(made(&config()).is_ok());
    let with = |change: fn(&mut WebhookConfig)| {
        let mut config = config();
        change(&mut config);
        made(&config).unwrap_err()
    };
    for (error, reason) in [
        (with(|config| config.name.clear()), "name is 1 to 64"),
        (with(|config| config.name = "a/b".to_owned()), "name is 1 to 64"),
        (with(|config| config.url = "http://hooks.example/".to_owned()), "url is http"),
        (with(|config| config.url = "/bell".to_owned()), "no host"),
        (with(|config| config.url = "ftp://hooks.example/".to_owned()), "neither https nor http"),
        (with(|config| config.url = "https://me@hooks.example/".to_owned()), "a user"),
        (with(|config| config.partitions.clear()), "1 to 64 partitions"),
        (with(|config| config.partitions = vec!["_webhooks".to_owned()]), "is no name"),
        (with(|config| config.partitions = vec![String::new()]), "is no name"),
        (with(|config| config.events = vec!["Low Balance".to_owned()]), "no name of an event"),
        (with(|config| config.events.clear()), "neither events nor commands"),
        (with(|config| config.commands = vec!["quotas.conusme".to_owned()]), "quotas.conusme"),
        (with(|config| config.commands = vec!["quo*".to_owned()]), "quo*"),
        (with(|config| config.timeout = Span::seconds(61)), "timeout"),
        (with(|config| config.retry_max = Span::milliseconds(1)), "retry_max"),
        (with(|config| config.retry_max = Span::seconds(86_401)), "retry_max"),
    ] {
        assert!(error.contains(reason), "{error}: {reason}");
    }
    let with = |change: fn(&mut WebhookConfig)| {
        let mut config = config();
        change(&mut config);
        made(&config)
    };
    assert!(with(|config| config.url = "http://127.0.0.1:1/".to_owned()).is_ok());
    assert!(with(|config| config.url = "http://[::1]:1/".to_owned()).is_ok());
    assert!(with(|config| config.partitions = vec!["*".to_owned()]).is_ok());
    assert!(with(|config| config.commands = vec!["tickets.*".to_owned()]).is_ok());
}

#[test]
fn two_of_one_name_are_refused() {
    let both = [made(&config()).unwrap(), made(&config()).unwrap()];
    assert!(Webhook::check_all(&both).unwrap_err().to_string().contains("alerts"));
    assert_eq!(Webhook::check_all(&both[..1]), Ok(()));
}

#[test]
fn pauses_double_up_to_the_longest() {
    let webhook = made(&config()).unwrap();
    let (first, last) = webhook.retry;
    for failures in 1..100_u32 {
        let doublings = failures.saturating_sub(1).min(20);
        let whole = first.saturating_mul(1 << doublings).min(last);
        let pause = webhook.pause(failures);
        assert!(whole / 2 <= pause && pause <= whole, "{failures}: {pause:?} of {whole:?}");
    }
}

#[test]
fn nothing_that_is_shown_has_the_secret() {
    let shown = format!("{:?}", made(&config()).unwrap());
    assert!(!shown.contains("MfKQ9r8G") && shown.contains("***"), "{shown}");
}
