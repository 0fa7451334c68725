-- Runs have an origin, wait for others, are cut short, and can be replayed when they have failed.

DROP VIEW history;
ALTER TABLE runs RENAME TO runs_1;
DROP INDEX runs_number;

-- Runs that are under way and have to outlive a crash (`running`), and for a while those that have ended. In the order of
-- their occurrences, so that the newest ones share pages: each page is written once with each transaction that touches it.
CREATE TABLE runs (
    occurrence INTEGER NOT NULL,
    plugin     TEXT NOT NULL,
    device     TEXT NOT NULL,
    job        TEXT NOT NULL,
    origin     TEXT NOT NULL,         -- '' for the job's trigger, `series-2`, `replay-2027-03-01T06:30:00Z`; behind that `-2`
                                      -- where the clock was set back twice before
    state      TEXT NOT NULL,         -- running, succeeded, failed, missed, skipped, cancelled, denied
    reason     TEXT,                  -- a sentence
    started    INTEGER,
    ended      INTEGER,
    attempts   INTEGER,               -- at the last step
    -- While it is running, and of one that failed, because it may be replayed:
    steps      TEXT,                  -- JSON: its own copy
    policy     TEXT,                  -- JSON: its own copy; NULL: the defaults
    -- While it is running, NULL once it has ended:
    number     INTEGER,               -- the scheduler's key
    start      INTEGER,               -- when it should start: the occurrence and its jitter
    steps_done INTEGER,
    armed      INTEGER,               -- 1: the next step is marked `once`, and may have been sent
    failed     TEXT,                  -- JSON: the first step that was given up
    cancelled  TEXT,                  -- JSON: why it was cut short
    late       TEXT,                  -- JSON: the owed step that was latest
    PRIMARY KEY (occurrence, plugin, device, job, origin)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX runs_number ON runs (number) WHERE number IS NOT NULL;
CREATE INDEX runs_failed ON runs (occurrence) WHERE state = 'failed';

INSERT INTO runs (occurrence, plugin, device, job, origin, state, reason, started, ended, attempts, steps, policy, number,
                  start, steps_done, armed, failed)
SELECT occurrence, plugin, device, job, '', state, reason, started, ended, attempts, steps, policy, number,
       start, steps_done, CASE WHEN number IS NULL THEN NULL ELSE 0 END, failed
FROM runs_1;
DROP TABLE runs_1;

CREATE VIEW history AS
SELECT plugin, device, job, strftime('%Y-%m-%dT%H:%M:%fZ', occurrence / 1000.0, 'unixepoch') AS occurrence, origin,
       state, reason, strftime('%Y-%m-%dT%H:%M:%fZ', started / 1000.0, 'unixepoch') AS started,
       strftime('%Y-%m-%dT%H:%M:%fZ', ended / 1000.0, 'unixepoch') AS ended, attempts
FROM runs
ORDER BY coalesce(ended, started);

-- Up to here a job was decided before the clock was set back; without effect where it is less than the watermark.
ALTER TABLE jobs ADD COLUMN decided INTEGER NOT NULL DEFAULT 0;

-- One row: how often the clock was set back.
CREATE TABLE clock (
    series INTEGER NOT NULL
) STRICT;
INSERT INTO clock VALUES (0);
