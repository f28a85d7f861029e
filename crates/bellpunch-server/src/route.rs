//! The table of routes, made from the table of commands.
//!
//! Invariant: a command that has a wire name has exactly one route, and the table is the only
//! source of dispatch and of OpenAPI.

use std::collections::BTreeMap;

use bellpunch_core::CommandSpec;
use hyper::Method;
use percent_encoding::percent_decode_str;

use crate::problem::Problem;
use crate::schema::Schemas;

/// What a route does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
    /// One command; its subject, if any, stands in the path under these names.
    Command(&'static CommandSpec),
    /// A page of a collection, each record read by this command.
    List(&'static CommandSpec),
    /// A page of a policy's counters.
    Counters(&'static CommandSpec),
    /// A page of what belongs to one record.
    Under(Under, &'static CommandSpec),
    /// Payload in.
    Publish(&'static CommandSpec),
    /// Payload out.
    Download(&'static CommandSpec),
    /// A list, all or nothing.
    Commands,
    /// Independent commands.
    Batch,
    /// What became of an idempotency key.
    Outcome(&'static CommandSpec),
    /// Entries of the journal after a place.
    Journal,
    /// The last entry.
    JournalLast,
    /// The partitions.
    Partitions,
    /// The process runs.
    Live,
    /// Commands are taken.
    Ready,
    /// Prometheus text.
    Metrics,
    /// This table.
    OpenApi,
    /// What a code means.
    ProblemPage,
}

/// What belongs to a record and is listed below it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Under {
    /// The postings of an account.
    AccountPostings,
    /// The postings of a retainer's account.
    RetainerPostings,
    /// The numbers of a series.
    SeriesNumbers,
    /// What does not agree in the numbers of a series.
    SeriesVerify,
    /// What does not agree in the documents of a chain.
    ChainVerify,
    /// The refunds of a payment.
    PaymentRefunds,
    /// The proposals for a job.
    JobProposals,
}

/// One route.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) method: Method,
    /// For example `/v1/{partition}/quotas/{id}/consume`.
    pub(crate) template: String,
    pub(crate) action: Action,
}

/// What stands in a path, by its name in the template.
pub(crate) type Captures = BTreeMap<String, String>;

/// All routes.
#[derive(Debug)]
pub(crate) struct Routes(Vec<Route>);

/// Commands that a door sends by itself, with what only a door can know.
pub(crate) const OF_THE_DOOR: [&str; 2] = ["uploads.publish", "uploads.download"];

fn of_command(spec: &'static CommandSpec, schemas: &Schemas) -> Vec<Route> {
    let (collection, verb) = spec.name.split_once('.').expect("a name is `collection.verb`");
    let base = format!("/v1/{{partition}}/{collection}");
    let route = |method: Method, template: String, action| Route { method, template, action };
    let command = Action::Command(spec);
    match spec.name {
        "outcomes.read" => {
            vec![route(Method::GET, format!("{base}/{{key}}"), Action::Outcome(spec))]
        }
        "counters.read" => {
            let base = "/v1/{partition}/policies/{policy}/counters";
            vec![
                route(Method::GET, base.to_owned(), Action::Counters(spec)),
                route(Method::GET, format!("{base}/{{key}}"), command),
            ]
        }
        "book.read" => vec![route(Method::GET, base, command)],
        "proposals.read" => vec![
            route(Method::GET, base.clone(), Action::List(spec)),
            route(Method::GET, format!("{base}/{{job}}/{{proposer}}"), command),
            route(
                Method::GET,
                "/v1/{partition}/jobs/{id}/proposals".to_owned(),
                Action::Under(Under::JobProposals, spec),
            ),
        ],
        "checks.consume" => vec![route(Method::POST, base, command)],
        "policies.set" => vec![route(Method::PUT, format!("{base}/{{id}}"), command)],
        "policies.delete" | "uploads.delete" => {
            vec![route(Method::DELETE, format!("{base}/{{id}}"), command)]
        }
        "uploads.publish" => {
            vec![route(Method::PUT, format!("{base}/{{id}}/payload"), Action::Publish(spec))]
        }
        "uploads.download" => {
            vec![route(Method::GET, format!("{base}/{{id}}/payload"), Action::Download(spec))]
        }
        _ if verb == "create" => vec![route(Method::POST, base, command)],
        _ if verb == "read" => {
            let subject = subject_of(spec, schemas).unwrap_or("id");
            let one = format!("{base}/{{{subject}}}");
            let below = below(collection).iter().map(|(name, under)| {
                route(Method::GET, format!("{one}/{name}"), Action::Under(*under, spec))
            });
            let own = [
                route(Method::GET, base, Action::List(spec)),
                route(Method::GET, one.clone(), command),
            ];
            own.into_iter().chain(below).collect()
        }
        _ if verb != "define" && subject_of(spec, schemas).is_some() => {
            let subject = subject_of(spec, schemas).unwrap_or("id");
            vec![route(Method::POST, format!("{base}/{{{subject}}}/{verb}"), command)]
        }
        _ => vec![route(Method::POST, format!("{base}/{verb}"), command)],
    }
}

/// The field that names a command's one subject, which then stands in its path.
pub(crate) fn subject_of(spec: &CommandSpec, schemas: &Schemas) -> Option<&'static str> {
    let named = spec.name.starts_with("series.") || spec.name.starts_with("chains.");
    let fields: &[&str] = if named { &["id", "name"] } else { &["id"] };
    fields.iter().find(|field| schemas.has_field(spec.name, field)).copied()
}

/// What is listed below each record of a collection.
fn below(collection: &str) -> &'static [(&'static str, Under)] {
    match collection {
        "accounts" => &[("postings", Under::AccountPostings)],
        "retainers" => &[("postings", Under::RetainerPostings)],
        "series" => &[("numbers", Under::SeriesNumbers), ("verify", Under::SeriesVerify)],
        "chains" => &[("verify", Under::ChainVerify)],
        "payments" => &[("refunds", Under::PaymentRefunds)],
        _ => &[],
    }
}

impl Routes {
    /// The routes of these commands, and those that belong to no command.
    pub(crate) fn new(commands: &[&'static CommandSpec], schemas: &Schemas) -> Self {
        let mut routes: Vec<Route> =
            commands.iter().flat_map(|spec| of_command(spec, schemas)).collect();
        let fixed = [
            (Method::POST, "/v1/{partition}/commands", Action::Commands),
            (Method::POST, "/v1/{partition}/batch", Action::Batch),
            (Method::GET, "/v1/{partition}/journal", Action::Journal),
            (Method::GET, "/v1/{partition}/journal/last", Action::JournalLast),
            (Method::GET, "/v1/partitions", Action::Partitions),
            (Method::GET, "/health/live", Action::Live),
            (Method::GET, "/health/ready", Action::Ready),
            (Method::GET, "/metrics", Action::Metrics),
            (Method::GET, "/openapi.json", Action::OpenApi),
            (Method::GET, "/problems/{code}", Action::ProblemPage),
        ];
        routes.extend(fixed.into_iter().map(|(method, template, action)| Route {
            method,
            template: template.to_owned(),
            action,
        }));
        Self(routes)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Route> {
        self.0.iter()
    }

    /// The route of a request, and what stands in its path. The path is split before it is
    /// decoded, so a name may have any character.
    pub(crate) fn find(&self, method: &Method, path: &str) -> Result<(&Route, Captures), Problem> {
        let segments: Vec<&str> = path.split('/').collect();
        let mut allowed: Vec<&str> = Vec::new();
        for route in &self.0 {
            if !matches(&route.template, &segments) {
                continue;
            }
            if route.method == *method {
                return Ok((route, captures(&route.template, &segments)?));
            }
            allowed.push(route.method.as_str());
        }
        if allowed.is_empty() {
            return Err(Problem::new("not_found"));
        }
        allowed.dedup();
        Err(Problem::new("method_not_allowed").header(hyper::header::ALLOW, &allowed.join(", ")))
    }
}

fn name_of(part: &str) -> Option<&str> {
    part.strip_prefix('{').and_then(|part| part.strip_suffix('}'))
}

fn matches(template: &str, segments: &[&str]) -> bool {
    let mut parts = template.split('/');
    let mut rest = segments.iter();
    loop {
        match (parts.next(), rest.next()) {
            (None, None) => return true,
            (Some(part), Some(segment)) if name_of(part).is_some() || part == *segment => {}
            (None | Some(_), None | Some(_)) => return false,
        }
    }
}

fn captures(template: &str, segments: &[&str]) -> Result<Captures, Problem> {
    let mut captures = Captures::new();
    for (part, segment) in template.split('/').zip(segments) {
        let Some(name) = name_of(part) else { continue };
        let decoded = percent_decode_str(segment).decode_utf8().ok();
        // A stray `%` would be taken as it stands, so that two spellings name one record.
        let stray = segment.match_indices('%').any(|(at, _)| {
            let digits = segment.get(at.saturating_add(1)..at.saturating_add(3));
            !digits.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
        });
        match decoded {
            Some(decoded) if !stray => {
                captures.insert(name.to_owned(), decoded.into_owned());
            }
            Some(_) | None => {
                return Err(Problem::new("name_invalid")
                    .detail(format!("`{name}` is not percent-encoded UTF-8."))
                    .with("field", name)
                    .with("reason", "not percent-encoded UTF-8"));
            }
        }
    }
    Ok(captures)
}

#[cfg(test)]
mod tests;
