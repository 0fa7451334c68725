//! Loads the stored state when the broker starts.

use rusqlite::{Connection, Row};

use super::{MessageId, Will};
use crate::{
    codec::{Qos, SubscribeOptions},
    core::SessionId,
    message::Message,
};

/// The stored state.
#[derive(Debug, Default)]
pub(crate) struct Saved {
    pub(crate) sessions: Vec<SavedSession>,
    pub(crate) subscriptions: Vec<SavedSubscription>,
    /// In the order of their arrival.
    pub(crate) messages: Vec<SavedMessage>,
    pub(crate) received: Vec<(SessionId, u16)>,
    pub(crate) retained: Vec<(Message, Qos, Option<i64>)>,
    pub(crate) wills: Vec<(String, Will)>,
}

#[derive(Debug)]
pub(crate) struct SavedSession {
    pub(crate) id: SessionId,
    pub(crate) client: String,
    pub(crate) expiry_s: u32,
    pub(crate) away_ms: Option<i64>,
}

#[derive(Debug)]
pub(crate) struct SavedSubscription {
    pub(crate) session: SessionId,
    pub(crate) filter: String,
    pub(crate) options: SubscribeOptions,
    pub(crate) id: Option<u32>,
}

#[derive(Debug)]
pub(crate) struct SavedMessage {
    pub(crate) id: MessageId,
    pub(crate) session: SessionId,
    pub(crate) packet_id: u16,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) subscription_ids: Box<[u32]>,
    pub(crate) expires_ms: Option<i64>,
    /// `None` if only PUBREL may have to be sent.
    pub(crate) message: Option<Message>,
}

pub(super) fn load(connection: &Connection) -> rusqlite::Result<Saved> {
    fn all<T>(
        connection: &Connection,
        sql: &str,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Vec<T>> {
        connection.prepare(sql)?.query_map([], read)?.collect()
    }
    let sessions = all(connection, "SELECT id, client, expiry_s, away_ms FROM session", |row| {
        Ok(SavedSession { id: row.get(0)?, client: row.get(1)?, expiry_s: row.get(2)?, away_ms: row.get(3)? })
    })?;
    let subscriptions = all(connection, "SELECT session, filter, options, identifier FROM subscription", |row| {
        Ok(SavedSubscription {
            session: row.get(0)?,
            filter: row.get(1)?,
            options: options(row.get(2)?)?,
            id: row.get(3)?,
        })
    })?;
    let messages = "SELECT id, session, packet_id, qos, retain, identifiers, expires_ms, topic, properties, payload
                    FROM queued ORDER BY id";
    let messages = all(connection, messages, |row| {
        let ids: Vec<u8> = row.get(5)?;
        let (ids, _) = ids.as_chunks();
        let message = row.get::<_, Option<String>>(7)?.map(|topic| message(topic, row.get(8)?, row.get(9)?));
        Ok(SavedMessage {
            id: row.get(0)?,
            session: row.get(1)?,
            packet_id: row.get(2)?,
            qos: qos(row.get(3)?)?,
            retain: row.get(4)?,
            subscription_ids: ids.iter().map(|id| u32::from_be_bytes(*id)).collect(),
            expires_ms: row.get(6)?,
            message: message.transpose()?,
        })
    })?;
    let received = all(connection, "SELECT session, packet_id FROM received", |row| Ok((row.get(0)?, row.get(1)?)))?;
    let retained = "SELECT topic, properties, payload, qos, expires_ms FROM retained";
    let retained = all(connection, retained, |row| {
        Ok((message(row.get(0)?, row.get(1)?, row.get(2)?)?, qos(row.get(3)?)?, row.get(4)?))
    })?;
    let wills = "SELECT client, topic, properties, payload, qos, retain, delay_s, expiry_s FROM will";
    let wills = all(connection, wills, |row| {
        let message = message(row.get(1)?, row.get(2)?, row.get(3)?)?.into();
        let (qos, retain, delay_s, expiry_s) = (qos(row.get(4)?)?, row.get(5)?, row.get(6)?, row.get(7)?);
        Ok((row.get(0)?, Will { message, qos, retain, delay_s, expiry_s }))
    })?;
    Ok(Saved { sessions, subscriptions, messages, received, retained, wills })
}

fn message(topic: String, properties: Vec<u8>, payload: Vec<u8>) -> rusqlite::Result<Message> {
    let (topic, payload, properties) = (topic.into(), payload.into(), properties.into());
    Ok(Message { topic, payload, properties, expires: None, counted: Default::default() })
}

fn qos(number: u8) -> rusqlite::Result<Qos> {
    Qos::from_number(number).ok_or(rusqlite::Error::IntegralValueOutOfRange(0, number.into()))
}

fn options(number: u8) -> rusqlite::Result<SubscribeOptions> {
    Ok(SubscribeOptions {
        qos: qos(number & 3)?,
        no_local: number & 4 != 0,
        retain_as_published: number & 8 != 0,
        retain_handling: number >> 4,
    })
}
