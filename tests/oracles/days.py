#!/usr/bin/env python3
"""Compares limits to days (`on`, `in`, `every`, `except`) of `roost next` with python-dateutil's recurrence rules and
cronsim (both PyPI): 10,000 random triggers round changes of the clock.

Usage: days.py ROOST [SEED [CASES]]. Prints `N passed, M failed`; exit code 1 if any failed.

The days are the days of recurrence rules of RFC 5545: a clause is the union of its rules, and a trigger is due on the days
that all of its clauses have. `every 2 weeks from 2027-03-17` is `FREQ=WEEKLY;INTERVAL=2;WKST=MO;BYDAY=MO,TU,…`. Half of the
triggers have fixed times of day, which the zones of Python find; the others are expressions of cron.py, whose times cronsim
finds on all days.

Where these are not the reference:
- A time of day that the clock skips. `zoneinfo` reads it with the offset before the change, so that 02:30 becomes 03:30.
  cron(8) runs such a job at once, and so does Roost: at 03:00, where several times may coincide.
- A time of day that is skipped beyond midnight. In Nuuk the clock is set from 23:00 to 00:00 of the next day: the
  Saturday's 23:30 is due then, on a Sunday by the clock. It belongs to its Saturday, by which it is limited.
  Only fixed times are compared there, because cronsim returns the date after the change alone.
- The cases that cron.py explains, which use its comparison.
- A trigger without any day. Roost refuses it; here it must have no day within 41 years.
"""

import json
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, time, timedelta, timezone
from zoneinfo import ZoneInfo

from dateutil.rrule import DAILY, MO, WEEKLY, rrule

import cron

ZONES = ["America/Nuuk" if name == "Asia/Kolkata" else name for name in cron.ZONES]
BEYOND_MIDNIGHT = ["America/Nuuk"]
WEEKDAYS = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"]
MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
LENGTHS = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
LONGEST = 41 * 366
# Times that are compared of one trigger.
MOST = 10_000


def at_midnight(day):
    return datetime.combine(day, time())


class Rules:
    """The union of recurrence rules, each given without its start."""

    def __init__(self, *rules):
        self.rules = rules

    def days(self, start, end):
        """Returns the days from one date up to another."""
        days = set()
        for rule in self.rules:
            rule = {"freq": DAILY, "dtstart": at_midnight(start), **rule}
            for at in rrule(**rule, cache=False).between(at_midnight(start), at_midnight(end), inc=True):
                days.add(at.date())
        return days


def season(first, last):
    """Returns a rule for each month of a season."""
    rules, (month, day) = [], first
    # A season that ends before it begins continues in the next year.
    while True:
        is_last = month == last[0] and day <= last[1]
        rules.append({"bymonth": month, "bymonthday": range(day, (last[1] if is_last else 31) + 1)})
        if is_last:
            return rules
        month, day = month % 12 + 1, 1


def random_date(rng, near):
    return near + timedelta(days=rng.randint(-90, 90))


def random_range(rng, near):
    """Returns a text and its rules."""
    kind = rng.randrange(6)
    if kind <= 1:
        first, length = rng.randrange(7), rng.choice([1, 1, 2, 5])
        days = [(first + n) % 7 for n in range(length)]
        text = WEEKDAYS[first] if length == 1 else f"{WEEKDAYS[first]}-{WEEKDAYS[days[-1]]}"
        return text, [{"byweekday": days}]
    if kind == 2:
        first = rng.randint(1, 31)
        last = rng.choice([first, rng.randint(first, 31)])
        return str(first) if first == last else f"{first}-{last}", [{"bymonthday": range(first, last + 1)}]
    if kind == 3:
        first, last = rng.randint(1, 12), rng.randint(1, 12)
        text = MONTHS[first - 1] if first == last else f"{MONTHS[first - 1]}-{MONTHS[last - 1]}"
        return text, season((first, 1), (last, LENGTHS[last - 1]))
    if kind == 4:
        day = lambda: (month := rng.randint(1, 12), rng.randint(1, LENGTHS[month - 1]))
        first, last = day(), day()
        text = "..".join(f"{MONTHS[month - 1]}-{day}" for month, day in (first, last))
        return text, season(first, last)
    first = random_date(rng, near)
    last = first + timedelta(days=rng.choice([0, 3, 30]))
    text = first.isoformat() if first == last else f"{first}..{last}"
    return text, [{"dtstart": at_midnight(first), "until": at_midnight(last)}]


def random_clauses(rng, near):
    """Returns clauses and a list of rules of which a day must fulfil all, and the rules of exceptions."""

    def some():
        ranges = [random_range(rng, near) for _ in range(rng.choice([1, 1, 2, 3]))]
        return ",".join(text for text, _ in ranges), Rules(*(rule for _, rules in ranges for rule in rules))

    clauses, all_of, but_not = [], [], Rules()
    if rng.random() < 0.5:
        text, rules = some()
        clauses.append(f"on {text}")
        all_of.append(rules)
    if rng.random() < 0.4:
        text, rules = some()
        clauses.append(f"in {text}")
        all_of.append(rules)
    if rng.random() < 0.5:
        count, start = rng.choice([1, 2, 3, 5, 10]), random_date(rng, near)
        unit, one_of = rng.choice([("days", {"freq": DAILY}), ("weeks", {"freq": WEEKLY, "wkst": MO, "byweekday": range(7)})])
        clauses.append(f"every {count} {unit} from {start}")
        all_of.append(Rules({**one_of, "interval": count, "dtstart": at_midnight(start)}))
    if rng.random() < 0.4 or not clauses:
        text, but_not = some()
        clauses.append(f"except {text}")
    rng.shuffle(clauses)
    return " ".join(clauses), all_of, but_not


def days_of(all_of, but_not, start, end):
    days = {start + timedelta(days=n) for n in range((end - start).days + 1)}
    for rules in all_of:
        days &= rules.days(start, end)
    return days - but_not.days(start, end)


def instant(day, at, zone):
    """Returns when the clock shows a time first, or the end of the gap in which it is skipped."""
    shown = datetime.combine(day, at, zone)
    found = shown.astimezone(timezone.utc)
    if found.astimezone(zone).replace(tzinfo=None) == shown.replace(tzinfo=None):
        return found
    # The offset changes once between the two readings of a skipped time.
    later, earlier = found, shown.replace(fold=1).astimezone(timezone.utc)
    before = earlier.astimezone(zone).utcoffset()
    while later - earlier > timedelta(seconds=1):
        middle = earlier + (later - earlier) / 2
        earlier, later = (middle, later) if middle.astimezone(zone).utcoffset() == before else (earlier, middle)
    return later.replace(microsecond=0)


def fixed_times(rng):
    """Returns a trigger without its days, and its times of day."""
    hour, minute = rng.choice([0, 0, 1, 2, 2, 3, 23, rng.randrange(24)]), rng.choice([0, 15, 30, 59, rng.randrange(60)])
    if rng.random() < 0.5:
        return f"daily {hour:02}:{minute:02}", [time(hour, minute)]
    hours, minutes = sorted({hour, rng.randrange(24)}), sorted({minute, rng.randrange(60)})
    fields = ",".join(map(str, minutes)), ",".join(map(str, hours))
    return f"cron {fields[0]} {fields[1]} * * *", [time(hour, minute) for hour in hours for minute in minutes]


def cases(seed, count):
    rng = random.Random(seed)
    changes = {name: cron.changes_of_clock(ZoneInfo(name)) for name in ZONES}
    sparse = [text for text in cron.EXPRESSIONS if not cron.follows_clock(text)]
    for number in range(count):
        name = ZONES[number % len(ZONES)]
        change = rng.choice(changes[name])
        clauses = random_clauses(rng, change.date())
        start = change - timedelta(seconds=rng.randint(0, 20 * 86_400))
        if number % 2 == 0 or name in BEYOND_MIDNIGHT:
            trigger, times = fixed_times(rng)
            yield trigger, times, clauses, name, start, start + timedelta(days=100)
        else:
            dense = rng.random() < 0.2
            text = rng.choice(cron.EXPRESSIONS if dense else sparse) if rng.random() < 0.5 else cron.random_expression(rng)
            length = 3 if cron.follows_clock(text) else 40
            start = max(start, change - timedelta(days=2)) if length == 3 else start
            yield f"cron {text}", None, clauses, name, start, start + timedelta(days=length)


def expected_times(case):
    trigger, times, (_, all_of, but_not), name, start, end = case
    zone = ZoneInfo(name)
    first, last = (start - timedelta(days=3)).date(), (end + timedelta(days=3)).date()
    days = days_of(all_of, but_not, first, last)
    if times:
        found = {instant(day, at, zone) for day in days for at in times}
    else:
        expression = trigger.removeprefix("cron ")
        # From before a repeated hour on, as cron.py explains.
        found = cron.cronsim(expression, zone, start - timedelta(hours=3), end)
        found = {at for at in found if at.astimezone(zone).date() in days}
    return sorted(at for at in found if start < at <= end)


def roost(binary, trigger, zone, start, count):
    command = [binary, "next", *trigger.split(), "--time-zone", zone, "--json", "--count", str(count)]
    return subprocess.run(command + ["--from", start.isoformat()], capture_output=True, text=True)


def compare(binary, case):
    trigger, _, (clauses, all_of, but_not), name, start, end = case
    expected = expected_times(case)[:MOST]
    text, zone = f"{trigger} {clauses}", ZoneInfo(name)
    done = roost(binary, text, name, start, min(len(expected) + 1, MOST))
    failed = f"FAILED `{text}` in {name} from {start.isoformat()}:"
    if done.returncode != 0:
        if "no day fulfils" not in done.stderr and "no such day" not in done.stderr:
            return f"{failed} {done.stderr.strip()}"
        left = days_of(all_of, but_not, date(2026, 1, 1), date(2026, 1, 1) + timedelta(days=LONGEST))
        return f"{failed} is refused, and is due on {sorted(left)[:3]}" if left and trigger.endswith("* * *") else None
    found = [datetime.fromisoformat(at).astimezone(timezone.utc) for at in json.loads(done.stdout)]
    found = [at for at in found if at <= end]
    if found == expected:
        return None
    missing, extra = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
    show = lambda times: [at.astimezone(zone).isoformat() for at in times[:4]]
    return f"{failed} missing {show(missing)}, extra {show(extra)}"


def main():
    binary, seed, count, *_ = sys.argv[1:] + ["1", "10000"][len(sys.argv) - 2:]
    with ThreadPoolExecutor(2) as pool:
        failures = list(pool.map(lambda case: compare(binary, case), cases(int(seed), int(count))))
    for failure in filter(None, failures):
        print(failure)
    failed = sum(failure is not None for failure in failures)
    print(f"{len(failures) - failed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
