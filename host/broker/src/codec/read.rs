//! Decodes the data types of MQTT [MQTT 5.0, 1.5].

use crate::codec::Fault;

/// The rest of a packet. Reads beyond its end return an error.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn rest(self) -> &'a [u8] {
        self.0
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Fault::malformed("a packet is cut short"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Fault> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn u16(&mut self) -> Result<u16, Fault> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, Fault> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(super) fn binary(&mut self) -> Result<&'a [u8], Fault> {
        let length = self.u16()?;
        self.take(length.into())
    }

    /// Reads UTF-8 text without NUL [MQTT-1.5.4-1, MQTT-1.5.4-2].
    pub(super) fn text(&mut self) -> Result<&'a str, Fault> {
        let bytes = self.binary()?;
        let text = std::str::from_utf8(bytes).map_err(|_| Fault::malformed("a text is not UTF-8"))?;
        if bytes.contains(&0) { Err(Fault::malformed("a text has a NUL")) } else { Ok(text) }
    }

    /// Reads a variable byte integer.
    pub(super) fn variable(&mut self) -> Result<u32, Fault> {
        let (value, length) = variable(self.0)?.ok_or(Fault::malformed("a packet is cut short"))?;
        self.take(length)?;
        Ok(value)
    }

    /// Reads a packet identifier, which is never 0 [MQTT-2.2.1-3].
    pub(super) fn packet_id(&mut self) -> Result<u16, Fault> {
        match self.u16()? {
            0 => Err(Fault::protocol("a packet identifier is 0")),
            id => Ok(id),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| Fault::malformed("a packet is cut short"))
    }
}

/// Decodes a variable byte integer and its length. Returns `None` if more bytes are needed.
pub(super) fn variable(bytes: &[u8]) -> Result<Option<(u32, usize)>, Fault> {
    let mut value = 0_u32;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= u32::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((value, index + 1)));
        }
    }
    if bytes.len() >= 4 { Err(Fault::malformed("a length has more than four bytes")) } else { Ok(None) }
}
