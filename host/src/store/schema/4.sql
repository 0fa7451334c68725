-- What the rules of time zones are called that jobs are due by; NULL: nobody knows.
ALTER TABLE clock ADD COLUMN zones TEXT;

-- Until when newer runs may put off what a run owes, where it has taken that over from an earlier one; milliseconds.
ALTER TABLE runs ADD COLUMN put_off_until INTEGER;
