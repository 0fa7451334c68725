-- Until when newer runs may put off what a run owes, where it has taken that over from an earlier one; milliseconds.
ALTER TABLE runs ADD COLUMN put_off_until INTEGER;
