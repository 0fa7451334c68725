//! A client that sends exactly the given packets.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use super::packets::{Message, Packet, cut, packet, properties, text, variable};

/// A connection.
pub struct Client {
    pub(super) stream: TcpStream,
    pub(super) read: Vec<u8>,
    pub(super) version: u8,
    pub session_present: bool,
}

impl Client {
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("it is connected");
    }

    /// Sends on a connection that may have ended.
    pub fn try_send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Returns the next packet. Panics at the end of the connection.
    pub fn next(&mut self) -> Packet {
        self.next_or_end().expect("the connection continues")
    }

    /// Returns the next packet, or `None` at the end of the connection.
    pub fn next_or_end(&mut self) -> Option<Packet> {
        loop {
            if let Some((packet, length)) = cut(&self.read) {
                self.read.drain(..length);
                return Some(packet);
            }
            let mut buffer = [0; 65_536];
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(length) => self.read.extend(&buffer[..length]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("nothing for a minute"),
                Err(_) => return None,
            }
        }
    }

    /// Reads until the connection ends. Returns the reason, if there is one.
    pub fn ended(&mut self) -> Option<u8> {
        let mut reason = None;
        while let Some(packet) = self.next_or_end() {
            if packet.first == 0xE0 {
                reason = packet.body.first().copied();
            }
        }
        reason
    }

    /// Publishes, and completes the acknowledgement. Returns its reason code.
    pub fn publish(&mut self, message: &Message) -> u8 {
        self.send(&message.packet(self.version));
        let reason = |packet: &Packet| packet.body.get(2).copied().unwrap_or(0);
        match message.qos {
            0 => 0,
            1 => {
                let ack = self.until(0x40);
                assert_eq!(ack.body[..2], message.id.to_be_bytes());
                reason(&ack)
            }
            _ => {
                let received = self.until(0x50);
                if reason(&received) < 0x80 {
                    self.send(&packet(0x62, &message.id.to_be_bytes()));
                    self.until(0x70);
                }
                reason(&received)
            }
        }
    }

    /// Returns the next packet of a kind. Messages before it are put back behind it.
    fn until(&mut self, first: u8) -> Packet {
        let mut skipped = Vec::new();
        loop {
            let next = self.next();
            if next.first == first {
                skipped.extend_from_slice(&self.read);
                self.read = skipped;
                return next;
            }
            assert_eq!(next.first >> 4, 3, "{next:?}");
            skipped.extend(packet(next.first, &next.body));
        }
    }

    pub fn subscribe(&mut self, filters: &[(&str, u8)]) -> Vec<u8> {
        self.subscribe_with(filters, &[])
    }

    /// Subscribes with options and properties. Returns the codes of SUBACK.
    pub fn subscribe_with(&mut self, filters: &[(&str, u8)], properties: &[u8]) -> Vec<u8> {
        let mut body = vec![0, 9];
        if self.version == 5 {
            variable(&mut body, properties.len());
            body.extend(properties);
        }
        for (filter, options) in filters {
            text(&mut body, filter.as_bytes());
            body.push(*options);
        }
        self.send(&packet(0x82, &body));
        self.until(0x90).body[if self.version == 5 { 3 } else { 2 }..].to_vec()
    }

    pub fn unsubscribe(&mut self, filters: &[&str]) -> Vec<u8> {
        let mut body = vec![0, 9];
        if self.version == 5 {
            body.push(0);
        }
        for filter in filters {
            text(&mut body, filter.as_bytes());
        }
        self.send(&packet(0xA2, &body));
        self.until(0xB0).body[if self.version == 5 { 3 } else { 2 }..].to_vec()
    }

    /// Returns the next packet, which must be a message, without acknowledging it.
    pub fn unacknowledged(&mut self) -> Message {
        let Packet { first, body } = self.next();
        assert_eq!(first >> 4, 3, "{first:x} {body:?}");
        let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
        let topic = String::from_utf8(body[2..2 + length].to_vec()).expect("UTF-8");
        let (mut rest, qos) = (&body[2 + length..], first >> 1 & 3);
        let mut id = 0;
        if qos > 0 {
            id = u16::from_be_bytes([rest[0], rest[1]]);
            rest = &rest[2..];
        }
        let mut found = Vec::new();
        if self.version == 5 {
            let (properties, length) = properties(rest);
            found = properties;
            rest = &rest[length..];
        }
        let (retain, dup) = (first & 1 != 0, first & 8 != 0);
        Message { topic, payload: rest.to_vec(), qos, retain, dup, id, properties: Vec::new(), found }
    }

    /// Returns the next packet, which must be a message, and acknowledges it.
    pub fn message(&mut self) -> Message {
        let message = self.unacknowledged();
        self.acknowledge(&message);
        message
    }

    pub fn acknowledge(&mut self, message: &Message) {
        match message.qos {
            0 => {}
            1 => self.send(&packet(0x40, &message.id.to_be_bytes())),
            _ => {
                self.send(&packet(0x50, &message.id.to_be_bytes()));
                assert_eq!(self.until(0x62).body[..2], message.id.to_be_bytes());
                self.send(&packet(0x70, &message.id.to_be_bytes()));
            }
        }
    }

    /// Checks that nothing has arrived, by a PINGREQ: the broker answers in order.
    pub fn quiet(&mut self) {
        self.send(&[0xC0, 0]);
        assert_eq!(self.next(), Packet { first: 0xD0, body: Vec::new() });
    }

    /// Disconnects properly, with a reason and properties of MQTT 5.
    pub fn disconnect(mut self, body: &[u8]) {
        self.send(&packet(0xE0, body));
        assert_eq!(self.next_or_end(), None);
    }

    /// Returns the stream.
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Closes the connection as a crashed client does. Returns when the broker has most likely detected it.
    pub fn crash(self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}
