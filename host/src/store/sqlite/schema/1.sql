-- The state of a host, readable with the sqlite3 shell. Instants are milliseconds since 1970-01-01T00:00:00Z; the views
-- `upcoming` and `history` show them as text.

CREATE TABLE plugins (
    id        INTEGER PRIMARY KEY,
    name      TEXT NOT NULL UNIQUE,
    component TEXT NOT NULL,          -- SHA-256 of the .wasm that runs
    settings  TEXT NOT NULL           -- SHA-256 of the settings it runs with
) STRICT;

CREATE TABLE devices (
    id        INTEGER PRIMARY KEY,
    plugin    INTEGER NOT NULL,       -- plugins.id
    name      TEXT NOT NULL,
    time_zone TEXT NOT NULL,          -- an IANA name
    latitude  REAL,
    longitude REAL,
    replan_at INTEGER NOT NULL,
    error     TEXT,                   -- why the newest plan was refused
    UNIQUE (plugin, name)
) STRICT;

-- Exactly the jobs that are planned now. Without further indexes: a million rows are written and read in bulk.
CREATE TABLE jobs (
    id        INTEGER PRIMARY KEY,
    device    INTEGER NOT NULL,       -- devices.id
    job       TEXT NOT NULL,
    label     TEXT,
    trigger   TEXT NOT NULL,          -- as in `roost next`
    steps     TEXT NOT NULL,          -- JSON
    policy    TEXT,                   -- JSON; NULL: the defaults
    watermark INTEGER NOT NULL,       -- everything up to here is decided
    due       INTEGER                 -- the occurrence after that
) STRICT;

-- Runs that have started and owe steps (`running`), and for 30 days those that have ended. In the order of their
-- occurrences, so that the newest ones share pages: each page is written once with each transaction that touches it.
CREATE TABLE runs (
    occurrence INTEGER NOT NULL,
    plugin     TEXT NOT NULL,
    device     TEXT NOT NULL,
    job        TEXT NOT NULL,
    state      TEXT NOT NULL,         -- running, succeeded, failed, missed, skipped, cancelled, denied
    reason     TEXT,                  -- a sentence
    started    INTEGER,
    ended      INTEGER,
    attempts   INTEGER,               -- at the last step
    -- While the run is under way; NULL once it has ended:
    number     INTEGER,               -- the scheduler's key
    steps      TEXT,                  -- JSON: its own copy
    policy     TEXT,                  -- JSON: its own copy; NULL: the defaults
    start      INTEGER,               -- when it should start: the occurrence and its jitter
    steps_done INTEGER,
    failed     TEXT,                  -- JSON: the first step that was given up
    PRIMARY KEY (occurrence, plugin, device, job)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX runs_number ON runs (number) WHERE number IS NOT NULL;

-- The watermarks of jobs that are gone.
CREATE TABLE tombstones (
    plugin    TEXT NOT NULL,
    device    TEXT NOT NULL,
    job       TEXT NOT NULL,
    watermark INTEGER NOT NULL,
    PRIMARY KEY (plugin, device, job)
) STRICT, WITHOUT ROWID;
CREATE INDEX tombstones_watermark ON tombstones (watermark);

CREATE VIEW upcoming AS
SELECT plugins.name AS plugin, devices.name AS device, jobs.job, jobs.label, jobs.trigger,
       strftime('%Y-%m-%dT%H:%M:%fZ', jobs.due / 1000.0, 'unixepoch') AS due
FROM jobs JOIN devices ON devices.id = jobs.device JOIN plugins ON plugins.id = devices.plugin
WHERE jobs.due IS NOT NULL
ORDER BY jobs.due;

CREATE VIEW history AS
SELECT plugin, device, job, strftime('%Y-%m-%dT%H:%M:%fZ', occurrence / 1000.0, 'unixepoch') AS occurrence,
       state, reason, strftime('%Y-%m-%dT%H:%M:%fZ', started / 1000.0, 'unixepoch') AS started,
       strftime('%Y-%m-%dT%H:%M:%fZ', ended / 1000.0, 'unixepoch') AS ended, attempts
FROM runs
ORDER BY coalesce(ended, started);
