-- Tasks call plugins when they are due, and the operator can override jobs.

-- The plugin's note, and the outcome with all values, as JSON: NULL where the run succeeded without remarks.
ALTER TABLE runs ADD COLUMN note TEXT;
ALTER TABLE runs ADD COLUMN why TEXT;

-- Replays are few, and lie among many other runs.
CREATE INDEX runs_again ON runs (occurrence) WHERE origin GLOB 'replay-*';

-- 1: paused, so that no run starts.
ALTER TABLE plugins ADD COLUMN paused INTEGER NOT NULL DEFAULT 0;
ALTER TABLE devices ADD COLUMN paused INTEGER NOT NULL DEFAULT 0;

-- Overrides of jobs by the operator, and ad-hoc jobs.
CREATE TABLE wishes (
    job     INTEGER PRIMARY KEY,      -- jobs.id
    paused  INTEGER NOT NULL,         -- 1: paused, so that no run starts
    skip    INTEGER,                  -- the occurrence to be skipped
    made    INTEGER,                  -- when an ad-hoc job was made; NULL: a plan has the job
    key     TEXT,                     -- SHA-256 of the idempotency key that came with it
    request TEXT                      -- SHA-256 of the request that came with that key
) STRICT;
