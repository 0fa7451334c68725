#!/usr/bin/env python3
"""Compares `roost next cron …` with cronsim (PyPI), which follows Debian's cron, round every change of the clock.

Usage: cron.py ROOST [SEED]. Prints `N passed, M failed`; exit code 1 if any failed.

Where cronsim is not the reference:
- Six and seven fields. cron(8) has no seconds, and cronsim lets such expressions follow the clock through summer time,
  fixed times included. In Roost `0 30 1 * * *` and `30 1 * * *` are the same; so those with fixed times are compared with
  their five fields, and only those that follow the clock with cronsim's six.
- Expressions that follow the clock where it changes by half an hour. cronsim looks for the hour in strides of 3,600 s,
    so after such a change it finds 10:30 instead of 10:00, and misses the day's first half hour. cron(8)
    examines every minute, and so does this comparison there.
- Expressions that follow the clock where it is set forward at midnight. On a day whose first hour is
  skipped, cronsim starts at a midnight that does not exist, and steps over the first hour that does. Every
  minute is examined here as well.
- A step without a range (`5/15`). cronsim reads `5-59/15`; get_range() in Debian's cron takes a single number for
  complete and then finds `/` where a blank should be. Roost refuses it, and names the two ways to write it.
- `15W` (the nearest weekday), the year field, and lists of `L` and numbers that cronsim refuses: not in Debian's cron.
"""

import json
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from itertools import takewhile
from zoneinfo import ZoneInfo

from cronsim import CronSim

ZONES = [
    "Europe/London",
    "America/New_York",
    "Australia/Lord_Howe",
    "Australia/Sydney",
    "America/Santiago",
    "Asia/Beirut",
    "America/Havana",
    "Asia/Kolkata",
]

HALF_HOURS = ["Australia/Lord_Howe"]
MIDNIGHTS = ["America/Santiago", "Asia/Beirut", "America/Havana"]

EXPRESSIONS = """
* * * * *
*/5 * * * *
*/30 2 * * *
*/15 0-3 * * *
0 * * * *
30 * * * *
7 */2 * * *
0 */3 * * *
0 0 * * *
1 0 * * *
30 0 * * *
0 1 * * *
30 1 * * *
59 1 * * *
0 2 * * *
15 2 * * *
30 2 * * *
45 2 * * *
0 3 * * *
30 23 * * *
0,30 1 * * *
0,30 2 * * *
10-50/20 1,2 * * *
30 1-3 * * *
15 0-4 * * *
0-59 1 * * *
0-59 2 * * *
30 1-23/2 * * *
30 6 * * MON-FRI
30 2 * * SUN
30 2 * * 7
0 0 * * SAT,SUN
30 1 * MAR,OCT SUN
0 2 1-7 * SUN
0 2 */2 * SUN
0 12 1,15 * FRI
0 2 * 3,9-11 *
30 2 L * *
30 2 LW * *
30 2 * * 0#1
30 1 * * 0#5
30 1 * * 0L
5 4 * * sun
0 22 * * 1-5
23 0-20/2 * * *
*/10 */10 * * *
""".strip().splitlines()

WITH_SECONDS = """
*/20 */30 * * * *
0 */7 1 * * *
30 0 * * * *
15,45 30 */2 * * *
""".strip().splitlines()


def random_expression(rng):
    """Returns an expression that both accept, and that is due in most weeks."""

    def field(low, high, star):
        kind = rng.random()
        if kind < star:
            return "*"
        if kind < star + 0.1:
            return f"*/{rng.randint(2, high // 2)}"
        first, last = sorted(rng.sample(range(low, high + 1), 2))
        return rng.choice([f"{first}", f"{first}", f"{first},{last}", f"{first}-{last}", f"{first}-{last}/2"])

    day_of_month = rng.choice(["*", "*", "*", "*/2", "1-20", "L", field(1, 31, 0)])
    day_of_week = rng.choice(["*", "*", "*", "*/2", "SAT,SUN", "1-5", field(0, 7, 0), "0L", "6#4"])
    hour = rng.choice([field(0, 23, 0.3), field(0, 4, 0.1)])
    return f"{field(0, 59, 0.15)} {hour} {day_of_month} {rng.choice(['*', '3-4,9-11'])} {day_of_week}"


def changes_of_clock(zone):
    """Returns the days on which the clock changes, or some other days in a zone where it never does."""
    noon = [datetime(2026, 1, 1, 12, tzinfo=timezone.utc) + timedelta(days=n) for n in range(730)]
    offset = lambda at: at.astimezone(zone).utcoffset()
    days = [at for at, then in zip(noon, noon[1:]) if offset(at) != offset(then)]
    return days or noon[::365]


def follows_clock(expression):
    return any(field.startswith("*") for field in expression.split()[-5:-3])


def every_minute(expression, zone, start, end):
    """Compares the clock with the fields in every minute, as cron(8) does for jobs that follow the clock."""
    rule = CronSim(expression, start.astimezone(zone))
    at, times = start.replace(microsecond=0) + timedelta(seconds=1), []
    while at <= end:
        shown = at.astimezone(zone)
        if shown.second in rule.seconds and shown.minute in rule.minutes and shown.hour in rule.hours:
            if shown.month in rule.months and rule.match_day(shown.date()):
                times.append(at)
        at += timedelta(seconds=60 - at.second if rule.seconds == {0} else 1)
    return times


def cronsim(expression, zone, start, end):
    if zone.key in HALF_HOURS + MIDNIGHTS and follows_clock(expression):
        return every_minute(expression, zone, start, end)
    times = takewhile(lambda at: at.astimezone(timezone.utc) <= end, CronSim(expression, start.astimezone(zone)))
    return [at.astimezone(timezone.utc) for at in times]


def roost(binary, expression, zone, start, end):
    count = 10_000
    command = [binary, "next", f"cron {expression}", "--time-zone", zone, "--json", "--count", str(count)]
    done = subprocess.run(command + ["--from", start.isoformat()], capture_output=True, text=True, check=True)
    times = [datetime.fromisoformat(at) for at in json.loads(done.stdout)]
    assert len(times) < count or times[-1] > end, f"{expression}: {count} are not enough"
    return [at.astimezone(timezone.utc) for at in times if at.astimezone(timezone.utc) <= end]


def cases(seed):
    rng = random.Random(seed)
    for name in ZONES:
        zone = ZoneInfo(name)
        for day in changes_of_clock(zone):
            for expression in EXPRESSIONS + WITH_SECONDS + [random_expression(rng) for _ in range(10)]:
                yield expression, expression, name, day - timedelta(days=3), day + timedelta(days=3)
            for expression in EXPRESSIONS:
                yield expression, f"0 {expression}", name, day - timedelta(days=1), day + timedelta(days=1)
            # Starts in, before and after the hour that is skipped or repeated.
            for _ in range(20):
                start = day + timedelta(seconds=rng.randint(-86_400, 86_400))
                expression = rng.choice(EXPRESSIONS)
                yield expression, expression, name, start, start + timedelta(days=1)


def compare(binary, case):
    expected_of, expression, name, start, end = case
    zone = ZoneInfo(name)
    expected = cronsim(expected_of, zone, start, end)
    if start.astimezone(zone).fold and not follows_clock(expected_of):
        # A repeated fixed time is due the first time; cronsim, started in the second, returns it again.
        first = start - timedelta(hours=3)
        expected = [at for at in cronsim(expected_of, zone, first, end) if at > start]
    found = roost(binary, expression, name, start, end)
    if found == expected:
        return None
    missing, extra = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
    show = lambda times: [at.astimezone(zone).isoformat() for at in times[:4]]
    return f"FAILED `{expression}` in {name} from {start.isoformat()}: missing {show(missing)}, extra {show(extra)}"


def main():
    binary, seed = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1
    with ThreadPoolExecutor(2) as pool:
        failures = list(pool.map(lambda case: compare(binary, case), cases(seed)))
    for failure in filter(None, failures):
        print(failure)
    failed = sum(failure is not None for failure in failures)
    print(f"{len(failures) - failed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
