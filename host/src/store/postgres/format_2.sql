-- Format 2: plugins are in the database, so that every host has the same ones.

ALTER TABLE cells ADD COLUMN files BIGINT NOT NULL DEFAULT 0; -- raised by each change of `plugin_files`

-- Components and settings by content.
CREATE TABLE contents (
    cell   BIGINT NOT NULL,
    digest TEXT NOT NULL,               -- SHA-256
    bytes  BYTEA NOT NULL,
    PRIMARY KEY (cell, digest)
);

-- The files of each plugin, as the operator wants them; `plugins` has the versions that run.
CREATE TABLE plugin_files (
    cell      BIGINT NOT NULL,
    plugin    TEXT NOT NULL,
    component TEXT,                     -- SHA-256 of `<plugin>.wasm`; NULL: there is none
    settings  TEXT,                     -- SHA-256 of `<plugin>.toml`; NULL: there is none
    previous  TEXT,                     -- SHA-256 of the component that ran before, for a rollback
    PRIMARY KEY (cell, plugin),
    FOREIGN KEY (cell, component) REFERENCES contents,
    FOREIGN KEY (cell, settings) REFERENCES contents,
    FOREIGN KEY (cell, previous) REFERENCES contents
);
