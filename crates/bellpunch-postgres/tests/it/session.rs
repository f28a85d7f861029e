//! A connection of somebody else's: plain SQL, on a way of its own.

use std::sync::Mutex;

use tokio_postgres::{Client, NoTls, SimpleQueryMessage, connect};

use crate::wait;

/// Connects when it is first used, and again after the server was away.
#[derive(Debug)]
pub(crate) struct Session {
    url: String,
    client: Mutex<Option<Client>>,
}

impl Session {
    pub(crate) fn new(url: String) -> Self {
        Self { url, client: Mutex::default() }
    }

    /// Runs SQL, and gives the first column of its first row, or nothing.
    pub(crate) fn ask(&self, sql: &str) -> String {
        let mut client = self.client.lock().unwrap();
        let messages = wait(async {
            if client.as_ref().is_none_or(Client::is_closed) {
                let (fresh, connection) = connect(&self.url, NoTls).await.unwrap();
                tokio::spawn(connection);
                *client = Some(fresh);
            }
            let sent = client.as_ref().unwrap().simple_query(sql).await;
            sent.unwrap_or_else(|error| panic!("{sql}: {error:?}"))
        });
        for message in &messages {
            if let SimpleQueryMessage::Row(row) = message
                && !row.is_empty()
            {
                return row.get(0).unwrap_or_default().to_owned();
            }
        }
        String::new()
    }

    /// Runs SQL.
    pub(crate) fn run(&self, sql: &str) {
        let _ = self.ask(sql);
    }
}
