#!/usr/bin/env python3
"""Compares `roost next sunrise …` with an ephemeris (PyPI `ephem`) over a whole year, far north and south included.

Usage: sun.py ROOST [YEAR]. Prints `N passed, M failed`; exit code 1 if any failed. An event passes if both have it,
at most 5 s apart; a day passes if neither has an event.
"""

import json
import subprocess
import sys
from datetime import datetime, timedelta, timezone

import ephem

PLACES = {
    "London": (51.5074, -0.1278, "Europe/London"),
    "Quito": (-0.1807, -78.4678, "America/Guayaquil"),
    "Sydney": (-33.8688, 151.2093, "Australia/Sydney"),
    "Tromsø": (69.6492, 18.9553, "Europe/Oslo"),
}
HORIZONS = {"sunrise": "-0:50", "sunset": "-0:50", "civil": "-6", "nautical": "-12", "astronomical": "-18"}
EVENTS = ["sunrise", "sunset", "solar-noon"] + [f"{k}-{e}" for k in list(HORIZONS)[2:] for e in ("dawn", "dusk")]
TOLERANCE = timedelta(seconds=5)


def to_utc(date):
    return date.datetime().replace(tzinfo=timezone.utc)


def ephemeris(event, latitude, longitude, start, end):
    """Returns every event between two times, searched from one transit or antitransit of the sun to the next."""
    observer, sun = ephem.Observer(), ephem.Sun()
    observer.lat, observer.lon, observer.elevation, observer.pressure = str(latitude), str(longitude), 0, 0
    observer.horizon = HORIZONS.get(event) or HORIZONS.get(event.split("-")[0], "0")
    rising = event == "sunrise" or event.endswith("dawn")

    def altitude(at):
        observer.date = at
        sun.compute(observer)
        return sun.alt - float(observer.horizon)

    times = []
    observer.date = ephem.Date(start.replace(tzinfo=None)) - 1.5
    while observer.date < ephem.Date(end.replace(tzinfo=None)) + 1.5:
        noon = observer.next_transit(sun)
        if event == "solar-noon":
            times.append(to_utc(noon))
        else:
            # Between the lowest point before (after) the noon and the noon there is at most one rise (setting).
            observer.date = noon
            midnight = observer.previous_antitransit(sun) if rising else observer.next_antitransit(sun)
            low, high = float(midnight), float(noon)
            if altitude(low) < 0 <= altitude(high):
                while abs(high - low) > 0.05 / 86_400:
                    middle = (low + high) / 2
                    low, high = (middle, high) if altitude(middle) < 0 else (low, middle)
                times.append(to_utc(ephem.Date(high)))
        observer.date = noon + 0.01
    return [at for at in times if start < at <= end]


def roost(binary, event, latitude, longitude, zone, start, end):
    command = [binary, "next", event, "--latitude", str(latitude), "--longitude", str(longitude), "--json"]
    command += ["--time-zone", zone, "--from", start.isoformat(), "--count", "400"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    times = [datetime.fromisoformat(at).astimezone(timezone.utc) for at in json.loads(done.stdout)]
    return [at for at in times if at <= end]


def main():
    binary, year = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 2027
    start, end = (datetime(y, 1, 1, tzinfo=timezone.utc) for y in (year, year + 1))
    passed = failed = 0
    for place, (latitude, longitude, zone) in PLACES.items():
        for event in EVENTS:
            expected = ephemeris(event, latitude, longitude, start, end)
            found = roost(binary, event, latitude, longitude, zone, start, end)
            worst, unmatched = timedelta(), []
            for at in expected + found:
                other = min((found if at in expected else expected), key=lambda t: abs(t - at), default=None)
                apart = abs(other - at) if other else timedelta.max
                if apart <= TOLERANCE:
                    worst = max(worst, apart)
                else:
                    unmatched.append(at)
            for at in unmatched:
                print(f"FAILED {event} in {place}: {at.isoformat()} is only {'expected' if at in expected else 'found'}")
            failed += len(unmatched)
            quiet = (end - start).days - len({at.date() for at in expected})
            passed += len(expected) - sum(at in expected for at in unmatched) + quiet
            print(f"{place:8} {event:18} {len(expected):3} events, at most {worst.total_seconds():.1f} s apart")
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
