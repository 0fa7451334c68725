-- Plugins are asked what to publish, and people say what they want besides.

-- What its plugin said about it, and its outcome with all values, as JSON: NULL where it simply succeeded.
ALTER TABLE runs ADD COLUMN note TEXT;
ALTER TABLE runs ADD COLUMN why TEXT;

-- Those that were done again are few, and lie among many others.
CREATE INDEX runs_again ON runs (occurrence) WHERE origin GLOB 'replay-*';

-- 1: nothing of it is to start.
ALTER TABLE plugins ADD COLUMN paused INTEGER NOT NULL DEFAULT 0;
ALTER TABLE devices ADD COLUMN paused INTEGER NOT NULL DEFAULT 0;

-- What people have said of jobs, beside their plans.
CREATE TABLE wishes (
    job     INTEGER PRIMARY KEY,      -- jobs.id
    paused  INTEGER NOT NULL,         -- 1: no run of it is to start
    skip    INTEGER,                  -- the occurrence that is to be left out
    made    INTEGER,                  -- when somebody made it by hand; NULL: a plan has it
    key     TEXT,                     -- SHA-256 of the idempotency key that came with it
    request TEXT                      -- SHA-256 of what was asked for with that
) STRICT;
