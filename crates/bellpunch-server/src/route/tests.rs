//! Claims about paths.

use super::*;

fn routes() -> Routes {
    let commands: Vec<_> = bellpunch::commands().collect();
    let schemas = Schemas::new(&commands);
    Routes::new(&commands, &schemas)
}

fn find(method: &Method, path: &str) -> Result<(String, Captures), &'static str> {
    let routes = routes();
    let found = routes.find(method, path).map_err(|problem| problem.code)?;
    Ok((found.0.template.clone(), found.1))
}

#[test]
fn splits_before_it_decodes() {
    let (template, captures) = find(&Method::GET, "/v1/a%2Fb/outcomes/x%20y").unwrap();
    assert_eq!(template, "/v1/{partition}/outcomes/{key}");
    assert_eq!(captures["partition"], "a/b");
    assert_eq!(captures["key"], "x y");
}

#[test]
fn names_what_is_wrong_with_a_path() {
    assert_eq!(find(&Method::GET, "/v2").unwrap_err(), "not_found");
    assert_eq!(find(&Method::GET, "/v1/p/outcomes/k/").unwrap_err(), "not_found");
    assert_eq!(find(&Method::PUT, "/metrics").unwrap_err(), "method_not_allowed");
    assert_eq!(find(&Method::GET, "/v1/%ff/outcomes/k").unwrap_err(), "name_invalid");
    assert_eq!(find(&Method::GET, "/v1/%4/outcomes/k").unwrap_err(), "name_invalid");
}
