"""Roost: the guest `burst`, a thousand jobs for each device."""

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import work

JOBS_PER_DEVICE = 1_000


def settings(first):
    lines = ["[grants]", f'publish = ["{work.TOPIC}/#"]']
    lines += ["[config]", f'topic = "{work.TOPIC}"', f"total = {work.JOBS}"]
    lines += [f"t0_ms = {first * 1000}", f"spread_ms = {round(work.SPREAD * 1000)}"]
    for number in range(0, work.JOBS, JOBS_PER_DEVICE):
        jobs = min(JOBS_PER_DEVICE, work.JOBS - number)
        lines += ["[[device]]", f'name = "d{number}"', f"config = {{ first = {number}, jobs = {jobs} }}"]
    return "\n".join(lines)


def scheduled(data):
    """Returns the number of jobs on disk."""
    try:
        with sqlite3.connect(f"file:{data}/roost.db?mode=ro", uri=True) as database:
            return database.execute("SELECT count(*) FROM jobs").fetchone()[0]
    except sqlite3.Error:
        return 0


def main():
    roost, guest = os.environ["ROOST"], os.environ["BURST"]
    plugins, data = Path(work.FOLDER) / "plugins", Path(work.FOLDER) / "data"
    plugins.mkdir()
    first = work.first_due(0.00005, 4)
    (plugins / "burst.toml").write_text(settings(first))
    shutil.copy(guest, plugins / "burst.wasm")
    # As an operator with so many devices would allow it.
    Path(work.FOLDER, "roost.toml").write_text(f"[rates]\nburst = {max(work.JOBS, 10_000)}\n")
    process = subprocess.Popen(
        [roost, "run", "--plugins", plugins, "--data", data, "--mqtt", f"mqtt://{work.HOST}:{work.PORT}",
         "--http", "off"],
        cwd=work.FOLDER,
        stdout=subprocess.DEVNULL,
        stderr=work.log("roost"),
    )
    while scheduled(data) < work.JOBS and time.time() < first:
        time.sleep(0.2)
        if process.poll() is not None:
            sys.exit("Roost ended")
    work.ready(first, process.pid)


main()
