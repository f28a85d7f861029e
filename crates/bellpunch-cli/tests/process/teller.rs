//! A client that writes down what it sends and what it is told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bellpunch_check::history::{Accepted, Header, Read, Rejected, Versions};
use bellpunch_check::recorder::{End, Recorder, Sent};
use hyper::Method;
use serde_json::{Map, Value, json};

use crate::client::Client;

/// What stands beside the reply of the rule in every answer.
const ENVELOPE: [&str; 8] =
    ["partition", "at", "replayed", "decided_by", "versions", "as_of", "durable", "best_effort"];

pub(crate) fn recorder() -> Arc<Recorder> {
    let begun = Instant::now();
    let stamps = move || u64::try_from(begun.elapsed().as_nanos()).unwrap();
    Arc::new(Recorder::new(Header::of("process"), Box::new(stamps)))
}

/// A command as it is sent and as it is written down.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) partition: String,
    cmd: &'static str,
    target: String,
    method: Method,
    path: String,
    body: Value,
    /// The command's whole content, what stands in the path too.
    args: Value,
    pub(crate) key: Option<String>,
}

impl Ask {
    fn new(partition: &str, cmd: &'static str, (path, body): (String, Value)) -> Self {
        let path = format!("/v1/{partition}/{path}");
        let (target, args) = (String::new(), body.clone());
        let partition = partition.to_owned();
        Self { partition, cmd, target, method: Method::POST, path, body, args, key: None }
    }

    /// Says what stands in the path.
    fn of(mut self, (kind, name, id): (&str, &str, &str)) -> Self {
        self.target = format!("{kind}/{id}");
        self.args[name] = id.into();
        self
    }

    fn put(mut self) -> Self {
        self.method = Method::PUT;
        self
    }

    pub(crate) fn keyed(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    pub(crate) fn quota(partition: &str, id: &str, limit: u64) -> Self {
        // What no reply names is left out of the sums: charges with ids that are drawn.
        let body = json!({ "id": id, "limit": limit, "charges": "none" });
        Self::new(partition, "quotas.create", ("quotas".to_owned(), body)).of(("quotas", "id", id))
    }

    pub(crate) fn kept_quota(partition: &str, id: &str, limit: u64) -> Self {
        let body = json!({ "id": id, "limit": limit });
        Self::new(partition, "quotas.create", ("quotas".to_owned(), body)).of(("quotas", "id", id))
    }

    pub(crate) fn policy(partition: &str, id: &str, terms: Value) -> Self {
        let ask = Self::new(partition, "policies.set", (format!("policies/{id}"), terms));
        ask.put().of(("policies", "id", id))
    }

    pub(crate) fn consume(partition: &str, quota: &str, units: u64) -> Self {
        let body = json!({ "units": units });
        let path = format!("quotas/{quota}/consume");
        Self::new(partition, "quotas.consume", (path, body)).of(("quotas", "id", quota))
    }

    pub(crate) fn pass(partition: &str, policy: &str, key: &str) -> Self {
        let path = format!("policies/{policy}/consume");
        let ask = Self::new(partition, "policies.consume", (path, json!({ "key": key })));
        let mut ask = ask.of(("policies", "id", policy));
        ask.target = format!("counters/{policy}/{key}");
        ask
    }

    pub(crate) fn issue(partition: &str, ttl_ms: u64) -> Self {
        let body = json!({
            "holder": "c1", "audience": "s1", "issued_by": "s1", "ttl_ms": ttl_ms,
            "approved": true, "max_amount": { "amount": 9, "unit": "use" }
        });
        Self::new(partition, "tickets.create", ("tickets".to_owned(), body))
    }

    pub(crate) fn redeem(partition: &str, ticket: &str, amount: u64) -> Self {
        let body = json!({ "audience": "s1", "holder": "c1", "amount": amount });
        let path = format!("tickets/{ticket}/redeem");
        Self::new(partition, "tickets.redeem", (path, body)).of(("tickets", "id", ticket))
    }

    pub(crate) fn declare(partition: &str, upload: &str, quota: &str) -> Self {
        let body = json!({
            "id": upload, "size_limit": 64, "charge": [{ "quota": quota, "units": 1 }]
        });
        let ask = Self::new(partition, "uploads.create", ("uploads".to_owned(), body));
        ask.of(("uploads", "id", upload))
    }

    pub(crate) fn declare_large(partition: &str, upload: &str, bytes: u64) -> Self {
        let body = json!({ "id": upload, "size_limit": bytes });
        let ask = Self::new(partition, "uploads.create", ("uploads".to_owned(), body));
        ask.of(("uploads", "id", upload))
    }

    pub(crate) fn publish(partition: &str, upload: &str, base64: &str) -> Self {
        let path = format!("uploads/{upload}/payload");
        let ask = Self::new(partition, "uploads.publish", (path, json!({ "payload": base64 })));
        ask.put().of(("uploads", "id", upload))
    }

    pub(crate) fn complete(partition: &str, upload: &str) -> Self {
        let path = format!("uploads/{upload}/complete");
        Self::new(partition, "uploads.complete", (path, json!({}))).of(("uploads", "id", upload))
    }

    /// All of them or none.
    pub(crate) fn list(partition: &str, all: &[Self]) -> Self {
        let command = |ask: &Self| {
            let mut command = ask.args.clone();
            command["command"] = ask.cmd.into();
            command
        };
        let commands: Vec<Value> = all.iter().map(command).collect();
        let body = json!({ "commands": commands });
        let mut list = Self::new(partition, "commands", ("commands".to_owned(), body));
        let args = all.iter().map(|ask| json!({ "cmd": ask.cmd, "args": ask.args }));
        list.args = args.collect();
        list
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Told {
    /// The whole answer.
    Accepted(Value),
    /// The code, and the whole answer.
    Refused(String, Value),
    /// Certainly without an effect: the code.
    Failed(String),
    /// Nobody can know.
    Unknown,
}

#[derive(Debug)]
pub(crate) struct Teller {
    name: String,
    address: SocketAddr,
    /// Its name, where there are several.
    node: Option<String>,
    recorder: Arc<Recorder>,
    client: Option<Client>,
    patience: Duration,
}

impl Teller {
    pub(crate) fn new(name: &str, address: SocketAddr, recorder: &Arc<Recorder>) -> Self {
        let (name, recorder) = (name.to_owned(), Arc::clone(recorder));
        Self { name, address, node: None, recorder, client: None, patience: crate::PATIENCE }
    }

    /// As long as it waits for an answer.
    pub(crate) fn patient(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Goes on with another node, or with the same one at another address.
    pub(crate) fn turn_to(&mut self, node: &str, address: SocketAddr) {
        if self.address != address {
            (self.address, self.client) = (address, None);
        }
        self.node = Some(node.to_owned());
    }

    /// Connects, unless it is connected; whether it could.
    pub(crate) async fn connect(&mut self) -> bool {
        if self.client.is_none() {
            self.client = Client::connect(self.address).await.ok();
        }
        self.client.is_some()
    }

    /// Sends a command once. Without a connection nothing is sent, and nothing written down.
    pub(crate) async fn tell(&mut self, ask: &Ask) -> Told {
        if !self.connect().await {
            return Told::Failed("not_connected".to_owned());
        }
        let op = self.recorder.invoke(Sent {
            proc: self.name.clone(),
            node: self.node.clone(),
            partition: ask.partition.clone(),
            cmd: ask.cmd.to_owned(),
            target: ask.target.clone(),
            args: ask.args.clone(),
            key: ask.key.clone(),
        });
        let client = self.client.as_mut().unwrap();
        let sent =
            client.send(ask.method.clone(), &ask.path, (ask.key.as_deref(), ask.body.clone()));
        let answer = tokio::time::timeout(self.patience, sent).await;
        let (end, told) = match answer {
            Ok(Ok((status, reply))) => ended(status, reply),
            Ok(Err(_)) => (End::Unknown("cut".to_owned()), Told::Unknown),
            Err(_) => (End::Unknown("no_answer".to_owned()), Told::Unknown),
        };
        if told == Told::Unknown {
            self.client = None;
        }
        self.recorder.ended(op, end);
        told
    }

    /// Sends a command that has to be accepted.
    pub(crate) async fn must(&mut self, ask: &Ask) -> Value {
        match self.tell(ask).await {
            Told::Accepted(reply) => reply,
            told @ (Told::Refused(..) | Told::Failed(_) | Told::Unknown) => {
                panic!("{ask:?}: {told:?}")
            }
        }
    }

    /// Asks for the outcome of a key, when nothing is on its way; whether it was applied.
    pub(crate) async fn resolve(&mut self, partition: &str, key: &str) -> bool {
        assert!(self.connect().await, "the server is there");
        let path = format!("/v1/{partition}/outcomes/{key}");
        let (status, mut outcome) = self.client.as_mut().unwrap().get(&path).await;
        assert_eq!(status, 200, "{outcome}");
        let applied = outcome["status"] == "applied";
        assert!(applied || outcome["status"] == "not_applied", "{outcome}");
        let receipt = applied.then(|| {
            let (at, versions, _, reply) = taken_apart(outcome["receipt"].take());
            let replies = if reply.is_array() { reply } else { json!([reply]) };
            json!({ "at": at, "versions": versions, "replies": replies })
        });
        self.recorder.resolved(partition, key, receipt);
        applied
    }

    /// Reads a record, and writes down what it shows.
    pub(crate) async fn read(&mut self, partition: &str, place: (&str, &str)) -> Value {
        let read = self.look(partition, place).await;
        read.unwrap_or_else(|code| panic!("{partition} {place:?}: {code}"))
    }

    /// Reads a record, if the server can; else the code of why not.
    pub(crate) async fn look(
        &mut self,
        partition: &str,
        (kind, id): (&str, &str),
    ) -> Result<Value, String> {
        if !self.connect().await {
            return Err("not_connected".to_owned());
        }
        let op = self.recorder.invoke(Sent {
            proc: self.name.clone(),
            node: self.node.clone(),
            partition: partition.to_owned(),
            cmd: format!("{kind}.read"),
            target: format!("{kind}/{id}"),
            args: json!({ "id": id }),
            key: None,
        });
        let path = format!("/v1/{partition}/{kind}/{id}");
        let sent = self.client.as_mut().unwrap().send(Method::GET, &path, (None, Value::Null));
        let Ok(Ok((status, answer))) = tokio::time::timeout(self.patience, sent).await else {
            self.client = None;
            self.recorder.ended(op, End::Error("cut".to_owned()));
            return Err("cut".to_owned());
        };
        if matches!(status, 503 | 504) {
            let code = answer["code"].as_str().unwrap().to_owned();
            self.recorder.ended(op, End::Error(code.clone()));
            return Err(code);
        }
        assert_eq!(status, 200, "{answer}");
        let as_of = versions(&answer["as_of"]);
        let (at, _, _, reply) = taken_apart(answer.clone());
        self.recorder.ended(op, End::Read(Read { as_of, at, reply, ..Read::default() }));
        Ok(answer)
    }
}

fn versions(value: &Value) -> Versions {
    let pairs = value.as_object().into_iter().flatten();
    pairs.map(|(record, version)| (record.clone(), version.as_u64().unwrap())).collect()
}

/// The time, the versions written and only read, and what the rule answered.
fn taken_apart(mut answer: Value) -> (String, Versions, Versions, Value) {
    let at = answer["at"].as_str().unwrap().to_owned();
    let (written, read) = (versions(&answer["versions"]), versions(&answer["as_of"]));
    let reply = match answer.get_mut("results").map(Value::take) {
        Some(Value::Array(mut results)) => {
            for result in &mut results {
                bare(result.as_object_mut().unwrap());
            }
            Value::Array(results)
        }
        _ => {
            bare(answer.as_object_mut().unwrap());
            answer
        }
    };
    (at, written, read, reply)
}

fn bare(answer: &mut Map<String, Value>) {
    answer.retain(|name, _| !ENVELOPE.contains(&name.as_str()));
}

fn flag(answer: &Value) -> Option<String> {
    let by = answer["decided_by"].as_str().filter(|by| *by != "store");
    by.map(str::to_owned)
}

fn ended(status: u16, answer: Value) -> (End, Told) {
    if status < 300 {
        let (at, writes, reads, reply) = taken_apart(answer.clone());
        let replayed = answer["replayed"] == true;
        let flag = flag(&answer);
        let accepted = Accepted { at, replayed, writes, reads, flag, reply, ..Accepted::default() };
        return (End::Accepted(accepted), Told::Accepted(answer));
    }
    let code = answer["code"].as_str().unwrap_or_else(|| panic!("{status}: {answer}")).to_owned();
    if answer["at"].is_string() {
        let mut reply = answer["data"].clone();
        // A wait stands beside the data on the wire.
        if let (Some(wait), Some(data)) = (answer.get("retry_after_ms"), reply.as_object_mut()) {
            data.insert("retry_after_ms".to_owned(), wait.clone());
        }
        let rejected = Rejected {
            code: code.clone(),
            as_of: versions(&answer["as_of"]),
            at: answer["at"].as_str().unwrap().to_owned(),
            index: answer["index"].as_u64(),
            flag: flag(&answer),
            reply,
            ..Rejected::default()
        };
        return (End::Rejected(rejected), Told::Refused(code, answer));
    }
    match status {
        504 => (End::Unknown(code), Told::Unknown),
        503 => (End::Error(code.clone()), Told::Failed(code)),
        _ => panic!("{status}: {answer}"),
    }
}
