//! Callers of one book: they number documents and move money, mixed with commands that are refused,
//! some of them after a number was drawn. Each command has a key of its own and is sent until it is
//! answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::client::Client;
use crate::random::Random;

pub(crate) const FIRM: &str = "firm";
/// Accounts of the book, each with so much at first.
const ACCOUNTS: [(&str, &str); 8] = [
    ("a0", "SAR"),
    ("a1", "SAR"),
    ("a2", "SAR"),
    ("a3", "SAR"),
    ("a4", "SAR"),
    ("u0", "USD"),
    ("u1", "USD"),
    ("u2", "USD"),
];
pub(crate) const OPENING: u64 = 1_000;
/// How long a command may be without an answer.
const ANSWER_MAX: Duration = Duration::from_secs(120);
/// Before a node that could not answer is asked again.
const RETRY_PAUSE: Duration = Duration::from_millis(3);

/// What an accepted command leaves.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Makes {
    /// A document that is numbered by this command: its kind and id.
    Numbered(&'static str, String),
    /// An invoice without a number yet.
    Draft(String),
    /// Postings: account, and by how much it rises.
    Transfer(Vec<(String, i64)>),
    /// Nothing: it must be refused, with this code.
    Refusal(&'static str),
    Else,
}

#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) key: String,
    path: String,
    body: Value,
    pub(crate) makes: Makes,
}

/// What became of it.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) ask: Ask,
    /// Before it was sent for the first time.
    pub(crate) begun: Instant,
    /// When the first answer was there.
    pub(crate) ended: Instant,
    /// How often nobody could know.
    pub(crate) cut: usize,
    /// The receipt, or the code of the refusal.
    pub(crate) outcome: Result<Value, String>,
}

fn money(amount: u64, currency: &str) -> Value {
    json!({ "amount": amount, "currency": currency })
}

impl Ask {
    fn new(key: &str, (path, body): (&str, Value), makes: Makes) -> Self {
        Self { key: key.to_owned(), path: format!("/v1/{FIRM}/{path}"), body, makes }
    }

    fn payment(key: &str, client: &str) -> Value {
        json!({ "id": key, "client": client, "amount": money(70, "SAR"), "method": "card" })
    }

    fn invoice(key: &str, issue: &Value) -> Value {
        json!({
            "id": key, "client": "c1", "currency": "SAR", "due_on": "2099-01-31", "issue": issue,
            "lines": [{
                "description": "work", "quantity_milli": 1_500, "unit_price": money(333, "SAR"),
                "vat_bp": 1_500,
            }],
        })
    }

    /// Commands that are one.
    fn list(key: &str, all: [(&str, Value); 2], makes: Makes) -> Self {
        let commands: Vec<Value> = all
            .into_iter()
            .map(|(name, mut content)| {
                content["command"] = name.into();
                content
            })
            .collect();
        Self::new(key, ("commands", json!({ "commands": commands })), makes)
    }

    /// Lines of a transfer: an account, and by how much it rises.
    fn lines(moves: &[(String, i64)], currency: &str) -> Value {
        let line = |(account, rise): &(String, i64)| {
            let side = if *rise < 0 { "debit" } else { "credit" };
            let amount = money(rise.unsigned_abs(), currency);
            json!({ "account": account, "side": side, "amount": amount })
        };
        moves.iter().map(line).collect()
    }

    fn transfer(key: &str, moves: Vec<(String, i64)>, currency: &str) -> Self {
        let body = json!({ "lines": Self::lines(&moves, currency), "ref": key });
        Self::new(key, ("transfers", body), Makes::Transfer(moves))
    }

    /// Refused although most of it would do.
    fn refused(key: &str, random: &mut Random) -> Self {
        let list = |first: (&str, Value), second: (&str, Value), code| {
            Self::list(key, [first, second], Makes::Refusal(code))
        };
        match random.below(6) {
            // A number was drawn, and is not used.
            0 => list(
                ("payments.create", Self::payment(key, "c1")),
                ("payments.complete", json!({ "id": "done" })),
                "already_completed",
            ),
            1 => list(
                ("invoices.create", Self::invoice(key, &json!(true))),
                ("retainers.consume", json!({ "id": "empty", "amount": money(1, "SAR") })),
                "retainer_depleted",
            ),
            // Money was moved, and is where it was.
            2 => {
                let one = |from: &str, to: &str, amount: i64| {
                    let moves = [(from.to_owned(), -amount), (to.to_owned(), amount)];
                    json!({ "lines": Self::lines(&moves, "USD") })
                };
                list(
                    ("transfers.create", one("bank-USD", "u0", 5)),
                    ("transfers.create", one("u0", "bank-USD", 1_000_000)),
                    "insufficient_funds",
                )
            }
            3 => {
                let body = Self::payment(key, "nobody");
                Self::new(key, ("payments", body), Makes::Refusal("client_not_found"))
            }
            4 => {
                let body = Self::payment("done", "c1");
                Self::new(key, ("payments", body), Makes::Refusal("payment_exists"))
            }
            _ => {
                let issue = ("invoices/issued/issue", json!({}));
                Self::new(key, issue, Makes::Refusal("invoice_not_draft"))
            }
        }
    }
}

/// What callers share.
#[derive(Debug, Default)]
pub(crate) struct World {
    answers: watch::Sender<usize>,
    stop: AtomicBool,
}

impl World {
    /// Waits until so many more answers were told.
    pub(crate) async fn answered(&self, more: usize) {
        let mut answers = self.answers.subscribe();
        let aim = *answers.borrow() + more;
        let told = answers.wait_for(|answers| aim <= *answers);
        tokio::time::timeout(ANSWER_MAX, told).await.unwrap().unwrap();
    }

    /// Nobody begins another command.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Where the nodes are now.
pub(crate) type Places = watch::Receiver<Vec<SocketAddr>>;

#[derive(Debug)]
pub(crate) struct Caller {
    name: String,
    /// The node that it asks first.
    home: usize,
    places: Places,
    random: Random,
    world: Arc<World>,
    client: Option<Client>,
    drafts: Vec<String>,
    told: Vec<Told>,
}

impl Caller {
    fn new(number: usize, (places, world): (&Places, &Arc<World>), random: &mut Random) -> Self {
        Self {
            name: format!("c{number}"),
            home: number,
            places: places.clone(),
            random: random.fork(),
            world: Arc::clone(world),
            client: None,
            drafts: Vec::new(),
            told: Vec::new(),
        }
    }

    /// So many, each on a task of its own, each with so many commands unless they are stopped.
    pub(crate) fn start(
        (count, commands): (usize, u64),
        (places, world): (&Places, &Arc<World>),
        random: &mut Random,
    ) -> JoinSet<Vec<Told>> {
        let mut working = JoinSet::new();
        for number in 0..count {
            let mut caller = Self::new(number, (places, world), random);
            working.spawn(async move {
                for turn in 0..commands {
                    if caller.world.stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let ask = caller.next(turn);
                    // A refusal is written down, too.
                    let _ = caller.insist(ask).await;
                }
                caller.told
            });
        }
        working
    }

    /// Makes a book: a client, an invoice, a payment, an empty retainer, accounts with money.
    pub(crate) async fn furnish(places: &Places, random: &mut Random) -> Vec<Told> {
        let world = Arc::default();
        let mut setup = Self::new(0, (places, &world), random);
        let mut asks = Vec::new();
        let client = json!({ "id": "c1", "scope": "firm", "name": "first" });
        let retainer =
            json!({ "id": "empty", "client": "c1", "type": "advance", "currency": "SAR" });
        let payment = Ask::payment("done", "c1");
        let there = json!({ "destinations": [{ "unapplied": money(70, "SAR") }] });
        let numbered = |kind, id: &str| Makes::Numbered(kind, id.to_owned());
        asks.push(("book/configure", json!({ "zone": "Asia/Riyadh" }), Makes::Else));
        asks.push(("clients", client, Makes::Else));
        asks.push(("retainers", retainer, Makes::Else));
        asks.push(("payments", payment, numbered("payments", "done")));
        asks.push(("payments/done/complete", there, Makes::Else));
        let issued = Ask::invoice("issued", &json!(true));
        asks.push(("invoices", issued, numbered("invoices", "issued")));
        for currency in ["SAR", "USD"] {
            let bank = format!("bank-{currency}");
            let bank =
                json!({ "id": bank, "owner": "b", "currency": currency, "class": "external" });
            asks.push(("accounts", bank, Makes::Else));
        }
        for (id, currency) in ACCOUNTS {
            let account = json!({ "id": id, "owner": id, "currency": currency });
            asks.push(("accounts", account, Makes::Else));
        }
        for (number, (path, body, makes)) in asks.into_iter().enumerate() {
            let ask = Ask::new(&format!("setup-{number}"), (path, body), makes);
            assert_eq!(setup.insist(ask).await, Ok(()));
        }
        for (id, currency) in ACCOUNTS {
            let opening = i64::try_from(OPENING).unwrap();
            let moves = vec![(format!("bank-{currency}"), -opening), (id.to_owned(), opening)];
            let ask = Ask::transfer(&format!("setup-{id}"), moves, currency);
            assert_eq!(setup.insist(ask).await, Ok(()));
        }
        setup.told
    }

    fn next(&mut self, turn: u64) -> Ask {
        let key = format!("{}-{turn}", self.name);
        let numbered = |kind| Makes::Numbered(kind, key.clone());
        match self.random.below(100) {
            0..25 => Ask::new(&key, ("payments", Ask::payment(&key, "c1")), numbered("payments")),
            25..40 => {
                let body = Ask::invoice(&key, &json!(true));
                Ask::new(&key, ("invoices", body), numbered("invoices"))
            }
            40..50 => match self.drafts.pop() {
                Some(draft) => {
                    let path = format!("invoices/{draft}/issue");
                    Ask::new(&key, (&path, json!({})), Makes::Numbered("invoices", draft))
                }
                None => {
                    let body = Ask::invoice(&key, &json!(false));
                    self.drafts.push(key.clone());
                    Ask::new(&key, ("invoices", body), Makes::Draft(key.clone()))
                }
            },
            50..80 => self.transfer(&key),
            _ => Ask::refused(&key, &mut self.random),
        }
    }

    /// From one account to one other or to two; often more than there is.
    fn transfer(&mut self, key: &str) -> Ask {
        let currency = self.random.one_of(&["SAR", "SAR", "USD"]);
        let mut accounts: Vec<&str> =
            ACCOUNTS.iter().filter(|(_, of)| *of == currency).map(|(id, _)| *id).collect();
        let mut draw = || {
            let place = self.random.below(u64::try_from(accounts.len()).unwrap());
            accounts.remove(usize::try_from(place).unwrap()).to_owned()
        };
        let (from, to, other) = (draw(), draw(), draw());
        let amount = 2 + i64::try_from(self.random.below(OPENING)).unwrap();
        let moves = if self.random.below(3) == 0 {
            vec![(from, -amount), (to, amount - 1), (other, 1)]
        } else {
            vec![(from, -amount), (to, amount)]
        };
        Ask::transfer(key, moves, currency)
    }

    /// Sends it until it is answered, with its key each time, and writes down what it was told. Gives
    /// the code of a refusal.
    async fn insist(&mut self, ask: Ask) -> Result<(), String> {
        let (begun, mut cut, mut attempt) = (Instant::now(), 0, 0);
        let outcome = loop {
            assert!(begun.elapsed() < ANSWER_MAX, "never answered: {ask:?}");
            match self.send(&ask, attempt).await {
                Some((200..300, receipt)) => break Ok(receipt),
                // Nobody can know, or it certainly has no effect: its key goes on.
                Some((503 | 504, _)) => tokio::time::sleep(RETRY_PAUSE).await,
                Some((status, problem)) => {
                    let code = problem["code"].as_str();
                    break Err(code.unwrap_or_else(|| panic!("{status}: {problem}")).to_owned());
                }
                None => cut += 1,
            }
            attempt += 1;
        };
        let ended = Instant::now();
        self.world.answers.send_modify(|answers| *answers += 1);
        if let Ok(receipt) = &outcome
            && self.random.below(8) == 0
        {
            self.again(&ask, receipt).await;
        }
        let said = outcome.as_ref().map(|_| ()).map_err(Clone::clone);
        self.told.push(Told { ask, begun, ended, cut, outcome });
        said
    }

    /// What was accepted is told again in the same words, if somebody is there.
    async fn again(&mut self, ask: &Ask, receipt: &Value) {
        let Some((status, again)) = self.send(ask, 1).await else { return };
        if matches!(status, 503 | 504) {
            return;
        }
        assert_eq!((status < 300, &again["replayed"]), (true, &json!(true)), "{again}");
        for name in ["seq", "at", "payment", "invoice", "transfer", "postings"] {
            assert_eq!(again[name], receipt[name], "{ask:?}");
        }
    }

    /// Sends it once; `None` if nobody can know what became of it, and once somebody is there again.
    async fn send(&mut self, ask: &Ask, attempt: usize) -> Option<(u16, Value)> {
        if self.client.is_none() || 0 < attempt {
            let places = self.places.borrow_and_update().clone();
            let place = places[(self.home + attempt) % places.len()];
            self.client = Client::connect(place).await.ok();
        }
        let Some(client) = &mut self.client else {
            // It ended; whoever starts it again says where it is.
            let _ = tokio::time::timeout(ANSWER_MAX, self.places.changed()).await;
            return None;
        };
        let sent = client.send(Method::POST, &ask.path, (Some(&ask.key), ask.body.clone()));
        match tokio::time::timeout(crate::PATIENCE, sent).await {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(_)) | Err(_) => {
                self.client = None;
                None
            }
        }
    }
}
