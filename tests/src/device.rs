//! A device that executes commands and reports that.

use std::{
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use crate::{Broker, Listener};

/// A device that answers every message on one topic with the same payload on another.
pub struct Device {
    subscriber: Child,
    publisher: Child,
}

impl Device {
    /// Starts a device, and waits until the listener has received an answer of it.
    pub fn answering(broker: &Broker, listener: &Listener, command: &str, state: &str, answer: &str) -> Self {
        let at_broker = |program: &str| {
            let mut tool = Command::new(program);
            tool.args(["-h", "127.0.0.1", "-p", &broker.port.to_string()]).stderr(Stdio::null());
            tool
        };
        let mut subscriber = at_broker("mosquitto_sub")
            .args(["-t", command, "-F", answer])
            .stdout(Stdio::piped())
            .spawn()
            .expect("mosquitto_sub is not installed: run `make setup`");
        let orders = subscriber.stdout.take().expect("it is piped");
        let publisher = at_broker("mosquitto_pub")
            .args(["-t", state, "-l"])
            .stdin(orders)
            .spawn()
            .expect("mosquitto_pub is not installed: run `make setup`");
        listener.wait("the device", |messages| {
            let answers = messages.iter().any(|message| message.topic == state);
            if !answers {
                broker.publish(&["-t", command, "-m", "probe"]);
                thread::sleep(Duration::from_millis(20));
            }
            answers
        });
        Self { subscriber, publisher }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        for process in [&mut self.subscriber, &mut self.publisher] {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
