"""Compares `roost next` with Python's zoneinfo and the newest `tzdata` of PyPI: noon of 15 January and 15 July of three
years, in every zone. Usage: zones.py ROOST
"""

import json
import os
import subprocess
import sys
import zoneinfo
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from importlib import resources

import tzdata

YEARS = (2026, 2027, 2028)


def expected(name):
    zone = zoneinfo.ZoneInfo(name)
    noons = [datetime(year, month, 15, 12, tzinfo=zone) for year in YEARS for month in (1, 7)]
    return [noon.isoformat() for noon in noons]


def found(roost, name, environment):
    command = [roost, "next", "cron 0 12 15 1,7 *", "--time-zone", name, "--from", f"{YEARS[0]}-01-01T00:00:00Z",
               "--count", str(2 * len(YEARS)), "--json"]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True)
    if ran.returncode != 0:
        return [ran.stderr.strip()]
    return [time.replace("Z", "+00:00") for time in json.loads(ran.stdout)]


def main():
    roost = os.path.abspath(sys.argv[1])
    # Not the system's: it may be old.
    zoneinfo.reset_tzpath(to=[])
    names = sorted(resources.files("tzdata").joinpath("zones").read_text().split())
    folder = str(resources.files("tzdata").joinpath("zoneinfo"))
    environment = {"PATH": os.environ["PATH"], "TZDIR": folder}
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda name: (name, expected(name), found(roost, name, environment)), names))
    wrong = [(name, want, got) for name, want, got in results if want != got]
    for name, want, got in wrong:
        print(f"{name}: expected {want}, found {got}")
    print(f"zones of {tzdata.IANA_VERSION}: {len(names) - len(wrong)} passed, {len(wrong)} failed")
    sys.exit(bool(wrong) or len(names) < 500)


main()
