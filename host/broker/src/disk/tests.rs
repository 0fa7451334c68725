//! Tests of failing transactions.

use std::{
    sync::{Arc, mpsc},
    thread,
};

use super::{CommitToken, Op, Writer, open};
use crate::{codec::Qos, message::Message};

fn retain(topic: &str) -> Vec<Op> {
    let (topic, payload, properties) = (topic.into(), [1].into(), [].into());
    let message = Message { topic, payload, properties, expires: None, counted: Default::default() };
    vec![Op::Retain { message: Arc::new(message), qos: Qos::AtLeastOnce, expires_ms: None }]
}

/// Returns a writer, its durable transactions, and another connection to its database, which makes each transaction
/// fail.
fn broken() -> (tempfile::TempDir, Writer, mpsc::Receiver<CommitToken>, rusqlite::Connection) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("broker.db");
    let (connection, _) = open(&path).expect("a database");
    let other = rusqlite::Connection::open(&path).expect("a database");
    let full = "CREATE TRIGGER full BEFORE INSERT ON retained BEGIN SELECT RAISE(ABORT, 'full'); END";
    other.execute_batch(full).expect("a trigger");
    let (durable_in, durable) = mpsc::channel();
    let writer = Writer::start(connection, move |token| durable_in.send(token).expect("the receiver exists"));
    (folder, writer.expect("a thread"), durable, other)
}

#[test]
fn what_cannot_be_written_is_written_when_it_can() {
    let (folder, writer, durable, other) = broken();
    writer.disk().commit(1, retain("a"));
    while !writer.is_failing() {
        thread::yield_now();
    }
    assert!(durable.try_recv().is_err(), "it is not durable");
    writer.disk().commit(2, retain("b"));
    other.execute_batch("DROP TRIGGER full").expect("it was there");
    while durable.recv().expect("it retries") < 2 {}
    assert!(!writer.is_failing());
    writer.close();
    while !writer.is_closed() {
        thread::yield_now();
    }
    drop(other);
    let (_, saved) = open(&folder.path().join("broker.db")).expect("a database");
    assert_eq!(saved.retained.iter().map(|(message, ..)| message.topic.as_ref()).collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn a_broken_disk_does_not_keep_the_broker_from_stopping() {
    let (_folder, writer, durable, _other) = broken();
    writer.disk().commit(1, retain("a"));
    writer.close();
    while !writer.is_closed() {
        thread::yield_now();
    }
    assert!(durable.recv().is_err(), "nothing is durable");
}
