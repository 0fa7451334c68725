//! Encodes and decodes packets without the broker's own codec.

/// The contents of CONNECT.
#[derive(Clone, Debug)]
pub struct Connect {
    pub version: u8,
    pub id: String,
    pub clean: bool,
    pub keep_alive: u16,
    pub properties: Vec<u8>,
    pub will: Option<Will>,
}

#[derive(Clone, Debug)]
pub struct Will {
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: u8,
    pub retain: bool,
    pub properties: Vec<u8>,
}

impl Connect {
    pub fn five(id: &str) -> Self {
        Self { version: 5, id: id.to_owned(), clean: true, keep_alive: 60, properties: Vec::new(), will: None }
    }

    pub fn three(id: &str) -> Self {
        Self { version: 4, ..Self::five(id) }
    }

    /// Requests a persistent session.
    pub fn lasting(mut self) -> Self {
        self.clean = false;
        if self.version == 5 {
            self.properties.extend([0x11, 0, 0, 0x0E, 0x10]);
        }
        self
    }

    pub fn with(mut self, properties: &[u8]) -> Self {
        self.properties.extend(properties);
        self
    }

    pub fn will(mut self, topic: &str, payload: &[u8], retain: bool, properties: &[u8]) -> Self {
        let (topic, payload, properties) = (topic.to_owned(), payload.to_owned(), properties.to_owned());
        self.will = Some(Will { topic, payload, qos: 1, retain, properties });
        self
    }

    pub fn packet(&self) -> Vec<u8> {
        let mut flags = u8::from(self.clean) << 1;
        if let Some(will) = &self.will {
            flags |= 4 | will.qos << 3 | u8::from(will.retain) << 5;
        }
        let mut body = b"\0\x04MQTT".to_vec();
        body.extend([self.version, flags]);
        body.extend(self.keep_alive.to_be_bytes());
        self.add_properties(&mut body, &self.properties);
        text(&mut body, self.id.as_bytes());
        if let Some(will) = &self.will {
            self.add_properties(&mut body, &will.properties);
            text(&mut body, will.topic.as_bytes());
            text(&mut body, &will.payload);
        }
        packet(0x10, &body)
    }

    fn add_properties(&self, body: &mut Vec<u8>, properties: &[u8]) {
        if self.version == 5 {
            variable(body, properties.len());
            body.extend(properties);
        }
    }
}

/// A packet with its length.
pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    variable(&mut packet, body.len());
    packet.extend(body);
    packet
}

pub fn text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend(u16::try_from(text.len()).expect("short").to_be_bytes());
    out.extend(text);
}

pub fn variable(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let byte = (value & 0x7F) as u8;
        value >>= 7;
        if value == 0 {
            return out.push(byte);
        }
        out.push(byte | 0x80);
    }
}

/// A message to publish, or one that has arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: u8,
    pub retain: bool,
    pub dup: bool,
    pub id: u16,
    /// Raw, when it is published.
    pub properties: Vec<u8>,
    /// When it has arrived.
    pub found: Vec<(u8, Vec<u8>)>,
}

impl Message {
    pub fn new(topic: &str, payload: &[u8]) -> Self {
        Self { topic: topic.to_owned(), payload: payload.to_owned(), id: 1, ..Self::default() }
    }

    pub fn qos(mut self, qos: u8) -> Self {
        self.qos = qos;
        self
    }

    pub fn id(mut self, id: u16) -> Self {
        self.id = id;
        self
    }

    pub fn retain(mut self) -> Self {
        self.retain = true;
        self
    }

    pub fn with(mut self, properties: &[u8]) -> Self {
        self.properties.extend(properties);
        self
    }

    pub fn packet(&self, version: u8) -> Vec<u8> {
        let mut body = Vec::new();
        text(&mut body, self.topic.as_bytes());
        if self.qos > 0 {
            body.extend(self.id.to_be_bytes());
        }
        if version == 5 {
            variable(&mut body, self.properties.len());
            body.extend(&self.properties);
        }
        body.extend(&self.payload);
        packet(0x30 | u8::from(self.dup) << 3 | self.qos << 1 | u8::from(self.retain), &body)
    }

    /// Returns the value of a property.
    pub fn property(&self, id: u8) -> Option<&[u8]> {
        self.found.iter().find(|(found, _)| *found == id).map(|(_, value)| value.as_slice())
    }
}

/// A packet that has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    pub first: u8,
    pub body: Vec<u8>,
}

pub fn cut(bytes: &[u8]) -> Option<(Packet, usize)> {
    let (mut length, mut shift, mut at) = (0_usize, 0, 1);
    loop {
        let byte = *bytes.get(at)?;
        length |= usize::from(byte & 0x7F) << shift;
        (shift, at) = (shift + 7, at + 1);
        if byte & 0x80 == 0 {
            break;
        }
    }
    let body = bytes.get(at..at + length)?.to_vec();
    Some((Packet { first: bytes[0], body }, at + length))
}

/// Decodes properties into pairs of an identifier and bytes. Returns their length as well.
pub fn properties(bytes: &[u8]) -> (Vec<(u8, Vec<u8>)>, usize) {
    let (mut length, mut at, mut shift) = (0_usize, 0, 0);
    loop {
        length |= usize::from(bytes[at] & 0x7F) << shift;
        (shift, at) = (shift + 7, at + 1);
        if bytes[at - 1] & 0x80 == 0 {
            break;
        }
    }
    let whole = at + length;
    let mut rest = &bytes[at..whole];
    let mut found = Vec::new();
    let of_text = |rest: &[u8]| 2 + usize::from(u16::from_be_bytes([rest[0], rest[1]]));
    while let Some((&id, value)) = rest.split_first() {
        let size = match id {
            0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2A => 1,
            0x13 | 0x21 | 0x22 | 0x23 => 2,
            0x02 | 0x11 | 0x18 | 0x27 => 4,
            0x0B => 1 + value.iter().take_while(|byte| **byte & 0x80 != 0).count(),
            0x26 => of_text(value) + of_text(&value[of_text(value)..]),
            _ => of_text(value),
        };
        found.push((id, value[..size].to_vec()));
        rest = &value[size..];
    }
    (found, whole)
}
