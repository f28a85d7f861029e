//! As much of PromQL as the alerts use, over two looks at `/metrics`: an alert's own expression is
//! asked whether it is true, not a copy of what it means.
//!
//! As in Prometheus, a counter that was not there before has not risen: an alert about one that
//! appears with its first count would stay silent.

#![expect(clippy::float_arithmetic, reason = "the values of Prometheus are floats")]

use std::collections::BTreeMap;

pub(crate) type Labels = BTreeMap<String, String>;
type Vector = BTreeMap<Labels, f64>;

/// What `/metrics` said.
#[derive(Clone, Debug, Default)]
pub(crate) struct Look {
    pub(crate) seconds: f64,
    samples: BTreeMap<String, Vector>,
}

impl Look {
    pub(crate) fn new(seconds: f64, text: &str) -> Self {
        let mut look = Self { seconds, ..Self::default() };
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let labels = labels.strip_suffix('}').unwrap();
            let pairs = labels.split("\",").filter(|pair| !pair.is_empty());
            let pair = |pair: &str| {
                let (label, value) = pair.split_once("=\"").unwrap();
                (label.to_owned(), value.trim_end_matches('"').to_owned())
            };
            let labels = pairs.map(pair).collect();
            let samples = look.samples.entry(name.to_owned()).or_default();
            assert!(samples.insert(labels, value.parse().unwrap()).is_none(), "twice: {series}");
        }
        look
    }
}

/// The series for which an expression holds at the later look.
pub(crate) fn holds(expression: &str, looks: (&Look, &Look)) -> Vec<Labels> {
    let tokens = tokens(expression);
    let mut parser = Parser { tokens: &tokens, at: 0, looks };
    let Value::Vector(vector) = parser.any() else { panic!("a number: {expression}") };
    assert_eq!(parser.at, tokens.len(), "{expression}: {:?} is left", &tokens[parser.at..]);
    vector.into_keys().collect()
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Sign(char),
}

fn tokens(expression: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = expression.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_word = |sign: char| sign.is_ascii_alphanumeric() || sign == '_' || sign == '.';
        let end = if first == '"' {
            let end = rest[1..].find('"').unwrap() + 2;
            tokens.push(Token::Text(rest[1..end - 1].to_owned()));
            end
        } else if is_word(first) {
            let end = rest.find(|sign| !is_word(sign)).unwrap_or(rest.len());
            tokens.push(Token::Word(rest[..end].to_owned()));
            end
        } else {
            tokens.push(Token::Sign(first));
            1
        };
        rest = rest[end..].trim_start();
    }
    tokens
}

enum Value {
    Number(f64),
    Vector(Vector),
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    looks: (&'a Look, &'a Look),
}

impl Parser<'_> {
    fn next(&mut self) -> Token {
        self.at += 1;
        self.tokens[self.at - 1].clone()
    }

    fn word(&mut self) -> String {
        match self.next() {
            Token::Word(word) => word,
            other @ (Token::Text(_) | Token::Sign(_)) => panic!("{other:?} is no word"),
        }
    }

    fn is(&mut self, token: &Token) -> bool {
        let is_it = self.tokens.get(self.at) == Some(token);
        self.at += usize::from(is_it);
        is_it
    }

    fn is_sign(&mut self, sign: char) -> bool {
        self.is(&Token::Sign(sign))
    }

    fn is_word(&mut self, word: &str) -> bool {
        self.is(&Token::Word(word.to_owned()))
    }

    fn sign(&mut self, sign: char) {
        let next = self.next();
        assert_eq!(next, Token::Sign(sign));
    }

    fn any(&mut self) -> Value {
        let mut left = self.all();
        while self.is_word("or") {
            let (Value::Vector(mut one), Value::Vector(other)) = (left, self.all()) else {
                panic!("`or` is of vectors")
            };
            for (labels, value) in other {
                one.entry(labels).or_insert(value);
            }
            left = Value::Vector(one);
        }
        left
    }

    fn all(&mut self) -> Value {
        let mut left = self.compared();
        while self.is_word("and") {
            let (Value::Vector(mut one), Value::Vector(other)) = (left, self.compared()) else {
                panic!("`and` is of vectors")
            };
            one.retain(|labels, _| other.contains_key(labels));
            left = Value::Vector(one);
        }
        left
    }

    /// A comparison keeps the series for which it is true.
    fn compared(&mut self) -> Value {
        let left = self.computed();
        let above = if self.is_sign('>') {
            true
        } else if self.is_sign('=') {
            self.sign('=');
            false
        } else {
            return left;
        };
        let bound: f64 = self.word().parse().unwrap();
        let Value::Vector(mut vector) = left else { panic!("a number is compared") };
        #[expect(clippy::float_cmp, reason = "as Prometheus compares")]
        vector.retain(|_, value| if above { bound < *value } else { *value == bound });
        Value::Vector(vector)
    }

    fn computed(&mut self) -> Value {
        let left = self.one();
        let by: fn(f64, f64) -> f64 = if self.is_sign('/') {
            |one, other| one / other
        } else if self.is_sign('-') {
            |one, other| one - other
        } else {
            return left;
        };
        let vector = match (left, self.one()) {
            (Value::Number(one), Value::Vector(mut other)) => {
                other.values_mut().for_each(|value| *value = by(one, *value));
                other
            }
            (Value::Vector(one), Value::Vector(other)) => {
                let both = one.into_iter().filter_map(|(labels, value)| {
                    let other = other.get(&labels)?;
                    Some((labels, by(value, *other)))
                });
                both.collect()
            }
            (_, Value::Number(_)) => panic!("no alert computes with a number on the right"),
        };
        Value::Vector(vector)
    }

    fn one(&mut self) -> Value {
        match self.word().as_str() {
            "time" => {
                self.sign('(');
                self.sign(')');
                Value::Number(self.looks.1.seconds)
            }
            "abs" => {
                self.sign('(');
                let Value::Vector(mut vector) = self.any() else { panic!("abs of a number") };
                self.sign(')');
                vector.values_mut().for_each(|value| *value = value.abs());
                Value::Vector(vector)
            }
            "increase" | "rate" => {
                self.sign('(');
                let name = self.word();
                let risen = self.risen(&name);
                self.sign(')');
                Value::Vector(risen)
            }
            "sum" => self.grouped(|one, other| one + other),
            "max" => self.grouped(f64::max),
            name => {
                let there = self.looks.1.samples.get(name).cloned().unwrap_or_default();
                Value::Vector(self.matching(there))
            }
        }
    }

    /// How much each series rose from look to look; its rate is that by a time which is the same
    /// for all.
    fn risen(&mut self, name: &str) -> Vector {
        let (before, now) = self.looks;
        let none = Vector::new();
        let before = before.samples.get(name).unwrap_or(&none);
        let now = now.samples.get(name).cloned().unwrap_or_default();
        let pairs = now.into_iter().filter_map(|(labels, value)| {
            let risen = value - before.get(&labels)?;
            Some((labels, risen))
        });
        let risen = self.matching(pairs.collect());
        self.sign('[');
        self.word();
        self.sign(']');
        risen
    }

    /// `by (label, …) (vector)`.
    fn grouped(&mut self, by: fn(f64, f64) -> f64) -> Value {
        assert!(self.is_word("by"));
        self.sign('(');
        let mut kept = vec![self.word()];
        while self.is_sign(',') {
            kept.push(self.word());
        }
        self.sign(')');
        self.sign('(');
        let Value::Vector(vector) = self.any() else { panic!("a number has no groups") };
        self.sign(')');
        let mut groups = Vector::new();
        for (mut labels, value) in vector {
            labels.retain(|label, _| kept.contains(label));
            groups.entry(labels).and_modify(|sum| *sum = by(*sum, value)).or_insert(value);
        }
        Value::Vector(groups)
    }

    /// `{label="value", …}`, if that is next.
    fn matching(&mut self, mut vector: Vector) -> Vector {
        if !self.is_sign('{') {
            return vector;
        }
        loop {
            let label = self.word();
            let is_not = self.is_sign('!');
            let equals = self.is_sign('=');
            let several = self.is_sign('~');
            assert!(if is_not { equals != several } else { equals }, "=, !=, =~ or !~");
            let Token::Text(text) = self.next() else { panic!("a value is a text") };
            let values: Vec<&str> =
                if several { text.split('|').collect() } else { vec![text.as_str()] };
            vector.retain(|labels, _| {
                let value = labels.get(&label).map(String::as_str).unwrap_or_default();
                values.contains(&value) != is_not
            });
            if !self.is_sign(',') {
                self.sign('}');
                return vector;
            }
        }
    }
}

#[test]
fn an_expression_holds_of_what_it_says() {
    let before = Look::new(100.0, "a{x=\"1\",y=\"2\"} 3\na{x=\"2\",y=\"2\"} 3\ng 50\n");
    let text = "# HELP\na{x=\"1\",y=\"2\"} 5\na{x=\"2\",y=\"2\"} 4\nnew 1\ng 50.5\nd -2\n";
    let now = Look::new(100.0, text);
    let so = |expression: &str| !holds(expression, (&before, &now)).is_empty();
    for expression in [
        "sum by (instance) (increase(a[5m])) > 2",
        "max by (x) (a) > 4",
        "max by (x) (a{x=\"2\"}) == 4",
        "max by (y) (a{x=~\"2|3\"}) == 4",
        "max by (y) (a{x!=\"1\"}) == 4",
        "sum by (y) (rate(a{x!~\"1|3\"}[5m])) / sum by (y) (rate(a[5m])) > 0.3",
        "time() - g > 49.4",
        "abs(d) > 1",
        "d > 0 or g > 50",
        "max by (x) (a) > 4 and max by (x) (a{x=\"1\"}) > 1",
    ] {
        assert!(so(expression), "{expression}");
    }
    for expression in [
        "sum by (instance) (increase(a[5m])) > 3",
        "increase(new[5m]) > 0",
        "max by (x) (a{x=\"2\"}) > 4",
        "sum by (y) (rate(a{x!~\"1|3\"}[5m])) / sum by (y) (rate(a[5m])) > 0.4",
        "time() - g > 49.5",
        "d > 0 or g > 51",
        "max by (x) (a) > 4 and max by (x) (a{x=\"2\"}) > 1",
    ] {
        assert!(!so(expression), "{expression}");
    }
}
