-- For users: what a run was for, and what it sent.
ALTER TABLE runs ADD COLUMN label TEXT;
-- The first messages of a run that has started and ended, as JSON: topics, and the beginning of each payload.
ALTER TABLE runs ADD COLUMN messages TEXT;
