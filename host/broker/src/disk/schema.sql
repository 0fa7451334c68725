-- Sessions that outlive their connections. `away_ms`: when the client was last connected; none while it is.
CREATE TABLE session (
    id INTEGER PRIMARY KEY,
    client TEXT NOT NULL UNIQUE,
    expiry_s INTEGER NOT NULL,
    away_ms INTEGER
);
CREATE TABLE subscription (
    session INTEGER NOT NULL,
    filter TEXT NOT NULL,
    options INTEGER NOT NULL,
    identifier INTEGER,
    PRIMARY KEY (session, filter)
) WITHOUT ROWID;
-- Messages that a session has yet to get or to acknowledge, in their order. `topic` is none where only PUBREL is left.
CREATE TABLE queued (
    id INTEGER PRIMARY KEY,
    session INTEGER NOT NULL,
    packet_id INTEGER NOT NULL,
    qos INTEGER NOT NULL,
    retain INTEGER NOT NULL,
    identifiers BLOB NOT NULL,
    expires_ms INTEGER,
    topic TEXT,
    properties BLOB,
    payload BLOB
);
CREATE INDEX queued_session ON queued (session);
-- Messages of QoS 2 that a session has published and not released.
CREATE TABLE received (
    session INTEGER NOT NULL,
    packet_id INTEGER NOT NULL,
    PRIMARY KEY (session, packet_id)
) WITHOUT ROWID;
CREATE TABLE retained (
    topic TEXT PRIMARY KEY,
    qos INTEGER NOT NULL,
    expires_ms INTEGER,
    properties BLOB NOT NULL,
    payload BLOB NOT NULL
);
-- Last wills of clients that are connected, or away and not missed yet.
CREATE TABLE will (
    client TEXT PRIMARY KEY,
    topic TEXT NOT NULL,
    properties BLOB NOT NULL,
    payload BLOB NOT NULL,
    qos INTEGER NOT NULL,
    retain INTEGER NOT NULL,
    delay_s INTEGER NOT NULL,
    expiry_s INTEGER
);
