//! A subscriber: an ordinary `mosquitto_sub`.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use crate::Lines;

/// Returns the payload that a broker has retained on a topic.
pub fn retained(port: u16, topic: &str) -> Option<String> {
    let mut process = Command::new("mosquitto_sub")
        .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-t", topic, "-q", "1", "-W", "10", "-F", "%t\t%p"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("mosquitto_sub is not installed: run `make setup`");
    let lines = BufReader::new(process.stdout.take().expect("it is piped")).lines().map_while(Result::ok);
    // amqtt sends messages of other topics first.
    let payload = |line: String| Some(line.split_once('\t').filter(|(of, _)| *of == topic)?.1.to_owned());
    let found = lines.filter_map(payload).next();
    let _ = process.kill();
    let _ = process.wait();
    found
}

/// A subscriber to everything.
pub struct Listener {
    process: Child,
    lines: Lines,
}

/// A received message.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// When it arrived, in seconds since the epoch.
    pub at: f64,
    /// Its topic.
    pub topic: String,
    /// Its payload.
    pub payload: String,
    /// Its user properties, as `name:value`, separated by spaces; empty for a listener with MQTT 3.1.1.
    pub properties: String,
}

impl Message {
    /// Returns the value of a user property.
    pub fn property(&self, name: &str) -> Option<&str> {
        self.properties.split(' ').find_map(|pair| pair.strip_prefix(name)?.strip_prefix(':'))
    }
}

impl Listener {
    /// Subscribes to everything with MQTT 5, and waits until the subscription is active.
    pub fn new(port: u16) -> Self {
        Self::with(port, &["-V", "5"])
    }

    /// As [`Self::new`], with MQTT 3.1.1, as most devices.
    pub fn v3(port: u16) -> Self {
        Self::with(port, &["-V", "311"])
    }

    /// As [`Self::new`], with a session that the broker keeps while the client is away.
    pub fn persistent(port: u16, id: &str) -> Self {
        Self::with(port, &["-V", "5", "-c", "-i", id, "-x", "3600"])
    }

    fn with(port: u16, arguments: &[&str]) -> Self {
        // `-d` makes it print that it has subscribed, and `stdbuf` makes it print that at once.
        let mut process = Command::new("stdbuf")
            .args(["-oL", "mosquitto_sub", "-d", "-h", "127.0.0.1", "-p", &port.to_string(), "-t", "#", "-q", "1"])
            .args(["-F", "received\t%U\t%t\t%p\t%P"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("mosquitto_sub is not installed: run `make setup`");
        let lines = Lines::of(process.stdout.take().expect("it is piped"));
        let listener = Self { process, lines };
        listener
            .lines
            .wait("the subscription", |lines| lines.iter().any(|line| line.starts_with("Subscribed ")).then_some(()));
        listener
    }

    /// Returns the messages so far, without the host's own status.
    pub fn messages(&self) -> Vec<Message> {
        parse_all(&self.lines.all())
    }

    /// Waits until the messages so far satisfy a condition.
    pub fn wait(&self, what: &str, done: impl Fn(&[Message]) -> bool) -> Vec<Message> {
        self.lines.wait(what, |lines| Some(parse_all(lines)).filter(|messages| done(messages)))
    }

    /// Returns how much has arrived so far, for [`Self::wait_after`].
    pub fn position(&self) -> usize {
        self.lines.count()
    }

    /// Waits until the messages after a position satisfy a condition.
    pub fn wait_after(&self, position: usize, what: &str, done: impl Fn(&[Message]) -> bool) -> Vec<Message> {
        self.lines.wait_after(position, what, |lines| Some(parse_all(lines)).filter(|messages| done(messages)))
    }

    /// Waits for a message on a topic.
    pub fn wait_for(&self, topic: &str) -> Message {
        let messages = self.wait(topic, |messages| messages.iter().any(|message| message.topic == topic));
        messages.into_iter().find(|message| message.topic == topic).expect("it was just received")
    }

    /// Returns the number of messages on a topic so far.
    pub fn count(&self, topic: &str) -> usize {
        self.messages().iter().filter(|message| message.topic == topic).count()
    }
}

fn parse_all(lines: &[String]) -> Vec<Message> {
    let messages = lines.iter().filter_map(|line| message(line));
    messages.filter(|message| message.topic != "roost/status").collect()
}

fn message(line: &str) -> Option<Message> {
    let mut fields = line.strip_prefix("received\t")?.splitn(4, '\t');
    Some(Message {
        at: fields.next()?.parse().ok()?,
        topic: fields.next()?.into(),
        payload: fields.next()?.into(),
        properties: fields.next()?.into(),
    })
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
