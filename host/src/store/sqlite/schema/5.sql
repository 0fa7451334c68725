-- The first step of a run, counted from 1, for whose topic the broker had no subscriber.
ALTER TABLE runs ADD COLUMN no_subscriber INTEGER;
