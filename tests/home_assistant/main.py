#!/usr/bin/env python3
"""Tries Roost's devices in a real Home Assistant, with Mosquitto between them.

Usage: main.py ROOST PLUGINS [SCENARIO…]. Prints `N passed, M failed`; exit code 1 if any failed. The scenarios go on from
one another: the first and the last are always tried, the others only if they are named or none is.
"""

import asyncio
import shutil
import sys
import tempfile
import time
from pathlib import Path

import scenarios
from servers import Failed
from world import World

# The longest that a scenario may take.
LIMIT_S = 150


async def main(binary, plugins, *only):
    folder = Path(tempfile.mkdtemp(prefix="home-assistant-"))
    world = World(folder, Path(binary).resolve(), Path(plugins).resolve())
    passed = failed = 0
    try:
        await world.start()
        for scenario in scenarios.ALL:
            name = scenario.__name__
            if only and name not in only and scenario not in scenarios.FIRST + scenarios.LAST:
                continue
            began = time.monotonic()
            try:
                await asyncio.wait_for(scenario(world), LIMIT_S)
            except (Failed, TimeoutError) as error:
                failed += 1
                print(f"FAILED {name}: {scenario.__doc__}\n       {error or 'it took too long'}", flush=True)
            else:
                passed += 1
                print(f"ok     {name}: {scenario.__doc__} ({time.monotonic() - began:.0f} s)", flush=True)
            while world.figures:
                print(f"       {world.figures.pop(0)}")
    finally:
        await world.stop()
    print(f"{passed} passed, {failed} failed")
    if failed:
        print(f"the logs are in {folder}")
    else:
        shutil.rmtree(folder)
    return failed


if __name__ == "__main__":
    sys.exit(1 if asyncio.run(main(*sys.argv[1:])) else 0)
