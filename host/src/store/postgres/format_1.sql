-- Each table is divided by cells: what is one data folder on one machine. Times are milliseconds since 1970 in UTC.

CREATE TABLE cells (
    id        BIGINT PRIMARY KEY,
    epoch     BIGINT NOT NULL DEFAULT 0,  -- raised by each host that takes it over
    owner     TEXT,                       -- the process that owns it; NULL: none
    beat      BIGINT NOT NULL DEFAULT 0,  -- raised by each transaction of the owner
    backend   BIGINT NOT NULL DEFAULT 0,  -- the owner's connection: pg_backend_pid()
    clock     BIGINT NOT NULL DEFAULT 0,  -- the highest wall clock by which an owner has decided
    host      TEXT,                       -- the name of the owner's machine
    client_id TEXT,                       -- the MQTT client id of all owners
    series    BIGINT NOT NULL DEFAULT 0,  -- how often the clock was set back
    zones     TEXT                        -- what the rules of time zones are called that jobs are due by
);

CREATE TABLE plugins (
    cell      BIGINT NOT NULL,
    id        BIGINT NOT NULL,
    name      TEXT NOT NULL,
    component TEXT NOT NULL,            -- SHA-256 of the file
    settings  TEXT NOT NULL,            -- SHA-256
    PRIMARY KEY (cell, id)
);

CREATE TABLE devices (
    cell      BIGINT NOT NULL,
    id        BIGINT NOT NULL,
    plugin    BIGINT NOT NULL,          -- plugins.id
    name      TEXT NOT NULL,
    time_zone TEXT NOT NULL,
    latitude  DOUBLE PRECISION,
    longitude DOUBLE PRECISION,
    replan_at BIGINT NOT NULL,
    error     TEXT,                     -- why its last plan was refused
    PRIMARY KEY (cell, id)
);

CREATE TABLE jobs (
    cell      BIGINT NOT NULL,
    id        BIGINT NOT NULL,
    device    BIGINT NOT NULL,          -- devices.id
    job       TEXT NOT NULL,
    label     TEXT,
    trigger   TEXT NOT NULL,
    steps     TEXT NOT NULL,            -- JSON
    policy    TEXT,                     -- JSON; NULL: the defaults
    watermark BIGINT NOT NULL,          -- every occurrence up to here is decided
    due       BIGINT,                   -- the next occurrence, with its jitter
    decided   BIGINT NOT NULL,          -- up to here it was decided before the clock was set back
    PRIMARY KEY (cell, id)
);

-- Overrides of jobs by the operator, and ad-hoc jobs.
CREATE TABLE overrides (
    cell    BIGINT NOT NULL,
    job     BIGINT NOT NULL,            -- jobs.id
    skip    BIGINT,                     -- the occurrence to be skipped
    made    BIGINT,                     -- when an ad-hoc job was made; NULL: a plan has the job
    key     TEXT,                       -- SHA-256 of the idempotency key that came with it
    request TEXT,                       -- SHA-256 of the request that came with that key
    PRIMARY KEY (cell, job)
);

-- At most one pause of each scope.
CREATE TABLE pauses (
    cell   BIGINT NOT NULL,
    level  TEXT   NOT NULL,             -- what it was set on: all, plugin, device or job
    item   BIGINT NOT NULL,             -- plugins.id, devices.id or jobs.id; 0 for all
    since  BIGINT,                      -- when it begins; NULL: it covers all that has not started
    until  BIGINT,                      -- when it ends; NULL: when it is removed
    reason TEXT,
    PRIMARY KEY (cell, level, item)
);

-- The watermarks of jobs that are gone: no occurrence of them comes twice.
CREATE TABLE tombstones (
    cell      BIGINT NOT NULL,
    plugin    TEXT NOT NULL,
    device    TEXT NOT NULL,
    job       TEXT NOT NULL,
    watermark BIGINT NOT NULL,
    PRIMARY KEY (cell, plugin, device, job)
);

-- Runs that are under way (`running`), and for a while those that have ended.
CREATE TABLE runs (
    cell          BIGINT NOT NULL,
    occurrence    BIGINT NOT NULL,
    plugin        TEXT NOT NULL,
    device        TEXT NOT NULL,
    job           TEXT NOT NULL,
    origin        TEXT NOT NULL,        -- '' for the job's trigger, `series-2`, `replay-2027-03-01T06:30:00Z`
    state         TEXT NOT NULL,        -- running, succeeded, failed, missed, skipped, cancelled, denied
    reason        TEXT,                 -- a sentence
    why           TEXT,                 -- JSON: the outcome with all values; NULL: it succeeded without remarks
    started       BIGINT,
    ended         BIGINT,
    attempts      BIGINT,               -- at the last step
    note          TEXT,                 -- the plugin's
    label         TEXT,
    messages      TEXT,                 -- JSON: the first messages, once it has started and ended
    -- While it is running, and of one that failed, because it may be replayed:
    steps         TEXT,                 -- JSON: its own copy
    policy        TEXT,                 -- JSON: its own copy; NULL: the defaults
    -- While it is running:
    number        BIGINT,               -- the scheduler's key
    start         BIGINT,               -- when it should start: the occurrence and its jitter
    steps_done    BIGINT,
    armed         BIGINT,               -- 1: the next step is marked `once`, and may have been sent
    failed        TEXT,                 -- JSON: the first step that was given up
    cancelled     TEXT,                 -- JSON: why it was cut short
    late          TEXT,                 -- JSON: the owed step that was latest
    put_off_until BIGINT,               -- until when newer runs may put off what it owes
    no_subscriber BIGINT,               -- the first step, from 1, for whose topic the broker had no subscriber
    PRIMARY KEY (cell, occurrence, plugin, device, job, origin)
);
CREATE UNIQUE INDEX runs_number ON runs (cell, number) WHERE number IS NOT NULL;
CREATE INDEX runs_failed ON runs (cell, occurrence) WHERE state = 'failed';
CREATE INDEX runs_again ON runs (cell, occurrence) WHERE origin LIKE 'replay-%';
