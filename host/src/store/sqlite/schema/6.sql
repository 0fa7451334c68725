-- What the rules of time zones are called that jobs are due by; NULL: it is not known.
ALTER TABLE clock ADD COLUMN zones TEXT;
