#!/usr/bin/env python3
"""Runs Roost and other schedulers at the same loads, in turns, and prints a table for each load.

Usage: bench.py --roost ROOST --burst BURST.wasm --json FILE [--rounds N] [--only TEXT] [--add] [--table]
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from measure import Failed, measure


@dataclass(frozen=True)
class Work:
    """Jobs, and the seconds over which they are due."""

    jobs: int
    spread: int = 0

    @property
    def name(self):
        return f"{self.jobs:,} " + (f"over {self.spread} s" if self.spread else "at once")


@dataclass(frozen=True)
class Peer:
    name: str
    # The Python package, if there is one.
    package: str | None
    script: tuple[str, ...]
    # Whether the jobs survive a power failure.
    durable: str
    works: tuple[Work, ...]


BURST, PACED = Work(10_000), Work(5_000, 10)
# For schedulers that would take minutes.
SMALL_BURST, SMALL_PACED = Work(2_000), Work(500, 10)

PEERS = [
    Peer("Roost", None, ("peer_roost.py",), "yes", (BURST, PACED, Work(100_000))),
    Peer("APScheduler, in memory", "apscheduler", ("peer_apscheduler.py", "memory"), "no", (BURST, PACED)),
    Peer("APScheduler, SQLite", "apscheduler", ("peer_apscheduler.py", "sqlite"), "yes", (SMALL_BURST, PACED)),
    Peer("Celery, Redis", "celery", ("peer_celery.py",), "no", (BURST, PACED)),
    Peer("rq-scheduler, Redis", "rq-scheduler", ("peer_rqscheduler.py",), "no", (SMALL_BURST, PACED)),
    Peer("AppDaemon", "appdaemon", ("peer_appdaemon.py",), "no", (SMALL_BURST, SMALL_PACED)),
]

COLUMNS = {
    "per_s": "messages/s",
    "late_p50_ms": "late p50, ms",
    "late_p99_ms": "p99",
    "late_max_ms": "max",
    "lost": "lost",
    "repeated": "repeated",
    "cpu_s": "CPU, s",
    "memory_mib": "memory, MiB",
}


def main():
    options = arguments()
    # So that the child processes are ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    os.environ |= {"ROOST": os.path.abspath(options.roost), "BURST": os.path.abspath(options.burst)}
    file = Path(options.json)
    kept = json.loads(file.read_text())["rounds"] if file.exists() and (options.add or options.table) else []
    for number in range(0 if options.table else options.rounds):
        for peer in PEERS:
            for work in peer.works:
                title = f"{peer.name}: {work.name}"
                if options.only in title:
                    print(f"round {number + 1}, {title}", file=sys.stderr)
                    kept.append({"peer": peer.name, "work": work.name} | outcome(peer, work))
                    file.write_text(json.dumps({"versions": versions(), "rounds": kept}, indent=1))
    print("\n".join(report(kept)))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--roost", required=True, help="the program")
    parser.add_argument("--burst", required=True, help="the guest `burst.wasm`")
    parser.add_argument("--json", required=True, help="where each round is written")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (3)")
    parser.add_argument("--only", default="", help="only those whose `scheduler: work` contains this text")
    parser.add_argument("--add", action="store_true", help="keep the rounds that the file has")
    parser.add_argument("--table", action="store_true", help="measure nothing, print the tables of the file")
    return parser.parse_args()


def outcome(peer, work):
    try:
        return measure(peer.script, work.jobs, work.spread)
    except Failed as failure:
        print(failure, file=sys.stderr)
        return {"failed": str(failure)}


def versions():
    own = subprocess.run([os.environ["ROOST"], "--version"], capture_output=True, text=True, check=True)
    return [own.stdout.strip().capitalize()] + [
        f"{name} {version(package)}"
        for name, package in {peer.name.partition(",")[0]: peer.package for peer in PEERS if peer.package}.items()
    ]


def report(rounds):
    """A table for the bursts, and one for the paced works."""
    yield from table("All due at one instant", rounds, COLUMNS, lambda work: not work.spread)
    yield ""
    # Without the rate, which is that of the due times.
    columns = {key: title for key, title in COLUMNS.items() if key != "per_s"}
    yield from table("Due one after the other", rounds, columns, lambda work: work.spread)
    yield ""
    yield ", ".join(versions()) + "."


def table(title, rounds, columns, of_these):
    yield f"| {title} | jobs | {' | '.join(columns.values())} | durable |"
    yield "|---|--:|" + "--:|" * len(columns) + "---|"
    for peer in PEERS:
        for work in filter(of_these, peer.works):
            mine = [one for one in rounds if (one["peer"], one["work"]) == (peer.name, work.name)]
            measured = [one for one in mine if "failed" not in one]
            if measured:
                cells = [formatted(key, statistics.median(one[key] for one in measured)) for key in columns]
            else:
                cells = ["failed" if mine else "not measured"] + [""] * (len(columns) - 1)
            yield f"| {peer.name} | {work.name} | {' | '.join(cells)} | {peer.durable} |"


def formatted(key, value):
    """Formats a value with its significant digits."""
    if key in ("lost", "repeated"):
        return f"{value:,.0f}"
    return f"{value:,.2f}" if value < 10 else f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


if __name__ == "__main__":
    main()
