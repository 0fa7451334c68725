#!/usr/bin/env python3
"""Compares `roost next sunrise …`, `sun at 10 rising` and `solar-midnight` with an ephemeris (PyPI `ephem`) over a whole
year, far north and south included.

Usage: sun.py ROOST [YEAR [SEED]]. Prints `N passed, M failed`; exit code 1 if any failed. An event passes if both have it,
at most 5 s apart, or 60 s beyond 70 degrees of latitude; a day passes if neither has an event.

Where the time of an event says little: near its highest or lowest point the sun hardly moves up or down, and a hair of a
degree is minutes of time, or an event and none. The two agree on the sun's elevation within 0.001 degrees. So an event
passes as well if the sun is so near to the elevation at the time that was found, which bounds the difference by the sun's
vertical speed; and an event that only one has passes if the sun's highest or lowest point that day is so near to the
elevation. These are counted as `grazing`.
"""

import json
import random
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime, timedelta, timezone

import ephem

# Each named event at these.
PLACES = {
    "London": (51.5074, -0.1278, "Europe/London"),
    "Quito": (-0.1807, -78.4678, "America/Guayaquil"),
    "Sydney": (-33.8688, 151.2093, "Australia/Sydney"),
    "Tromsø": (69.6492, 18.9553, "Europe/Oslo"),
}
# Random elevations at these, and at random places.
FAR = {
    "Alert": (82.5018, -62.3481, "America/Toronto"),
    "Longyearbyen": (78.2232, 15.6267, "Arctic/Longyearbyen"),
    "McMurdo": (-77.8419, 166.6863, "Antarctica/McMurdo"),
    "Northern ice": (84.9, 179.5, "UTC"),
    "Southern ice": (-84.9, -120.0, "UTC"),
}
RANDOM_PLACES, ELEVATIONS, HIGHEST, LOWEST = 16, 4, 60, -18
HORIZONS = {"sunrise": "-0:50", "sunset": "-0:50", "civil": "-6", "nautical": "-12", "astronomical": "-18"}
EVENTS = ["sunrise", "sunset", "solar-noon", "solar-midnight"]
EVENTS += [f"{k}-{e}" for k in list(HORIZONS)[2:] for e in ("dawn", "dusk")]
TOLERANCE, FAR_TOLERANCE, FAR_LATITUDE = timedelta(seconds=5), timedelta(seconds=60), 70
# In radians, as ephem measures.
GRAZING = ephem.degrees("0.001")


def to_utc(date):
    return date.datetime().replace(tzinfo=timezone.utc)


class Sky:
    """The sun over a place, above the horizon of an event."""

    def __init__(self, event, latitude, longitude):
        self.observer, self.sun = ephem.Observer(), ephem.Sun()
        self.observer.lat, self.observer.lon = str(latitude), str(longitude)
        self.observer.elevation, self.observer.pressure = 0, 0
        self.horizon = ephem.degrees(event.split()[2] if event.startswith("sun at") else
                                     HORIZONS.get(event) or HORIZONS.get(event.split("-")[0], "0"))
        self.event, self.rises = event, event in ("sunrise",) or event.endswith(("dawn", "rising"))

    def altitude(self, at):
        """Returns how far the sun is above the horizon."""
        self.observer.date = at
        self.sun.compute(self.observer)
        return float(self.sun.alt) - float(self.horizon)

    def events(self, start, end):
        """Returns every event between two times, searched from one transit or antitransit of the sun to the next; and
        the transits and antitransits at which the sun is as good as on the horizon."""
        times, grazes, observer = [], [], self.observer
        observer.date = ephem.Date(start.replace(tzinfo=None)) - 1.5
        while observer.date < ephem.Date(end.replace(tzinfo=None)) + 1.5:
            noon = observer.next_transit(self.sun)
            observer.date = noon
            midnight = observer.previous_antitransit(self.sun) if self.rises else observer.next_antitransit(self.sun)
            if self.event in ("solar-noon", "solar-midnight"):
                times.append(to_utc(noon if self.event == "solar-noon" else midnight))
            else:
                # Between the lowest point before (after) the noon and the noon there is at most one rise (setting).
                low, high = float(midnight), float(noon)
                grazes += [to_utc(ephem.Date(at)) for at in (low, high) if abs(self.altitude(at)) < GRAZING]
                if self.altitude(low) < 0 <= self.altitude(high):
                    while abs(high - low) > 0.05 / 86_400:
                        middle = (low + high) / 2
                        low, high = (middle, high) if self.altitude(middle) < 0 else (low, middle)
                    times.append(to_utc(ephem.Date(high)))
            observer.date = noon + 0.01
        return [at for at in times if start < at <= end], grazes


def roost(binary, event, latitude, longitude, zone, start, end):
    command = [binary, "next", *event.split(), "--latitude", str(latitude), "--longitude", str(longitude), "--json"]
    command += ["--time-zone", zone, "--from", start.isoformat(), "--count", "400"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    times = [datetime.fromisoformat(at).astimezone(timezone.utc) for at in json.loads(done.stdout)]
    return [at for at in times if at <= end]


def compare(job):
    """Returns lines of output, and how many passed, failed, and grazed the horizon."""
    binary, year, place, (latitude, longitude, zone), event = job
    start, end = (datetime(y, 1, 1, tzinfo=timezone.utc) for y in (year, year + 1))
    sky = Sky(event, latitude, longitude)
    expected, grazes = sky.events(start, end)
    found = roost(binary, event, latitude, longitude, zone, start, end)
    tolerance = TOLERANCE if abs(latitude) <= FAR_LATITUDE else FAR_TOLERANCE
    worst, unmatched, grazing = timedelta(), [], 0
    for at in expected + found:
        other = min((found if at in expected else expected), key=lambda t: abs(t - at), default=None)
        apart = abs(other - at) if other else timedelta.max
        if apart <= tolerance:
            worst = max(worst, apart)
        # On the other side of the sun's highest or lowest point, or without a partner.
        elif at in found and not event.startswith("solar") and abs(sky.altitude(at.replace(tzinfo=None))) < GRAZING:
            grazing += 1
        elif any(abs(graze - at) < timedelta(hours=1) for graze in grazes):
            grazing += 1
        else:
            unmatched.append(at)
    lines = [f"FAILED {event} in {place}: {at.isoformat()} is only {'expected' if at in expected else 'found'}"
             for at in unmatched]
    quiet = (end - start).days - len({at.date() for at in expected})
    passed = len(expected) - sum(at in expected for at in unmatched) + quiet
    note = f", {grazing} grazing" if grazing else ""
    lines.append(f"{place:16} {event:20} {len(expected):3} events, at most {worst.total_seconds():.1f} s apart{note}")
    return lines, passed, len(unmatched), grazing


def jobs(binary, year, seed):
    rng = random.Random(seed)
    for place, site in PLACES.items():
        yield from ((binary, year, place, site, event) for event in EVENTS)
    near = {}
    for _ in range(RANDOM_PLACES):
        latitude, longitude = round(rng.uniform(-70, 70), 3), round(rng.uniform(-180, 180), 3)
        near[f"{latitude}, {longitude}"] = latitude, longitude, "UTC"
    for place, site in {**PLACES, **near, **FAR}.items():
        if place not in PLACES:
            yield binary, year, place, site, "solar-midnight"
        for direction in ["rising", "setting"]:
            for elevation in rng.sample(range(LOWEST * 10, HIGHEST * 10 + 1), ELEVATIONS):
                yield binary, year, place, site, f"sun at {elevation / 10} {direction}"


def main():
    binary, year, seed, *_ = sys.argv[1:] + ["2027", "1"][len(sys.argv) - 2:]
    passed = failed = grazing = 0
    with ProcessPoolExecutor(2) as pool:
        for lines, good, bad, grazed in pool.map(compare, jobs(binary, int(year), int(seed))):
            print("\n".join(lines), flush=True)
            passed, failed, grazing = passed + good, failed + bad, grazing + grazed
    print(f"{passed} passed, {failed} failed, {grazing} grazing")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
