//! URLs as they may be shown: without their passwords.
//!
//! Invariant: no password of a store's URL is in a message, a log line or a shown setting. What is
//! not a URL as it should be loses too much rather than too little.

use toml::Value;

/// What stands for a password.
const HIDDEN: &str = "***";
/// What a parameter's name has that is a secret.
const SECRETS: [&str; 3] = ["pass", "secret", "token"];

/// A URL without its password.
pub(crate) fn redacted(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) => (rest, Some(query)),
        None => (rest, None),
    };
    // A password that was not encoded may have any letter: all before the last `@` is the user.
    let (user, host) = match query.and_then(|query| query.rsplit_once('@')) {
        Some((_, host)) => return format!("{scheme}://{HIDDEN}@{host}"),
        None => rest.rsplit_once('@').map_or((None, rest), |(user, host)| (Some(user), host)),
    };
    let mut shown = format!("{scheme}://");
    match user.map(|user| user.split_once(':')) {
        None => {}
        Some(Some((name, _))) => shown.push_str(&format!("{name}:{HIDDEN}@")),
        // Alone, it is a name for PostgreSQL, and for Redis it may be meant as a password.
        Some(None) if scheme.starts_with("redis") => shown.push_str(&format!("{HIDDEN}@")),
        Some(None) => shown.push_str(&format!("{}@", user.unwrap_or_default())),
    }
    shown.push_str(host);
    for (index, pair) in query.into_iter().flat_map(|query| query.split('&')).enumerate() {
        shown.push(if index == 0 { '?' } else { '&' });
        match pair.split_once('=') {
            Some((name, _)) if is_secret(name) => shown.push_str(&format!("{name}={HIDDEN}")),
            Some(_) | None => shown.push_str(pair),
        }
    }
    shown
}

fn is_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    SECRETS.iter().any(|secret| name.contains(secret))
}

/// A setting's value as it may be shown.
pub(crate) fn of_setting(key: &str, value: &Value) -> Value {
    match (key, value.as_str(), value.as_array()) {
        ("store.url", Some(url), _) => Value::String(redacted(url)),
        ("webhook", _, Some(webhooks)) => Value::Array(webhooks.iter().map(of_webhook).collect()),
        _ => value.clone(),
    }
}

/// A webhook without what is behind the host of its URL: whoever knows that may post there.
fn of_webhook(webhook: &Value) -> Value {
    let mut shown = webhook.clone();
    if let Some(Value::String(url)) = shown.get_mut("url") {
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        let host = rest.split(['/', '?']).next().unwrap_or_default();
        *url = format!("{scheme}://{host}/{HIDDEN}");
    }
    shown
}

/// A message about a store, without the password of its URL, should whoever wrote it have told it.
#[cfg(any(test, feature = "postgres", feature = "redis"))]
pub(crate) fn scrubbed(message: &str, url: &str) -> String {
    let message = message.replace(url, &redacted(url));
    let password = url
        .split_once("://")
        .and_then(|(_, rest)| rest.split('?').next())
        .and_then(|rest| rest.rsplit_once('@'))
        .and_then(|(user, _)| user.split_once(':'))
        .map_or("", |(_, password)| password);
    if password.is_empty() { message } else { message.replace(password, HIDDEN) }
}

#[cfg(test)]
mod tests;
