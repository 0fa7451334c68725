-- Format 3: hosts know one another, and forward requests.

-- The hosts that have worked with this database in the last days.
CREATE TABLE hosts (
    id          TEXT PRIMARY KEY,       -- of its data folder
    name        TEXT NOT NULL,
    address     TEXT,                   -- where other hosts reach it: `http://…`; NULL: nowhere
    version     TEXT NOT NULL,
    seen        BIGINT NOT NULL,        -- when it was here last, by the database's clock
    clock_ahead BIGINT NOT NULL         -- its clock less the database's, in milliseconds
);

-- By this, a host recognises requests that another one forwards: they are authorised already.
CREATE TABLE forwarding (secret TEXT NOT NULL);
INSERT INTO forwarding (secret) SELECT replace(concat(gen_random_uuid(), gen_random_uuid()), '-', '');

ALTER TABLE cells ADD COLUMN host_id TEXT; -- hosts.id of the owner
