-- Pauses begin and end, have a reason, and there is one of all. At most one for each scope.
CREATE TABLE pauses (
    level  TEXT    NOT NULL,          -- what it was set on: all, plugin, device or job
    item   INTEGER NOT NULL,          -- plugins.id, devices.id or jobs.id; 0 for all
    since  INTEGER,                   -- when it begins; NULL: it covers all that has not started
    until  INTEGER,                   -- when it ends; NULL: when it is removed
    reason TEXT,
    PRIMARY KEY (level, item)
) STRICT, WITHOUT ROWID;
INSERT INTO pauses (level, item) SELECT 'plugin', id FROM plugins WHERE paused;
INSERT INTO pauses (level, item) SELECT 'device', id FROM devices WHERE paused;
INSERT INTO pauses (level, item) SELECT 'job', job FROM wishes WHERE paused;
ALTER TABLE plugins DROP COLUMN paused;
ALTER TABLE devices DROP COLUMN paused;
ALTER TABLE wishes DROP COLUMN paused;
DELETE FROM wishes WHERE skip IS NULL AND made IS NULL;
