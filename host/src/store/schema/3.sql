-- Plugins are asked what to publish, and say something about it.

-- What its plugin said about it.
ALTER TABLE runs ADD COLUMN note TEXT;
