"""Measures one scheduler at one work: a broker, a subscriber that stamps what arrives, and the scheduler between them.

Lateness is the time of arrival at the subscriber less the time when the job was due.
"""

import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import work

# How long the last message may take after it was due.
LIMIT_S = 60
HERE = Path(__file__).parent

MOSQUITTO = """
listener {port} 127.0.0.1
allow_anonymous true
max_queued_messages 0
max_inflight_messages 0
persistence false
set_tcp_nodelay true
log_dest none
"""


class Failed(Exception):
    """A scheduler that could not be measured."""


def measure(script, jobs, spread):
    """Measures a scheduler with `jobs` jobs, due within `spread` seconds."""
    for patience in (1, 3, 9):
        with tempfile.TemporaryDirectory(prefix="peers-") as folder:
            result = attempt(Path(folder), script, jobs, spread, patience)
        if result is not None:
            return result
    raise Failed("its jobs were not scheduled in time")


def attempt(folder, script, jobs, spread, patience):
    port, redis_port = free_port(), free_port()
    (folder / "mosquitto.conf").write_text(MOSQUITTO.format(port=port))
    arrivals = folder / "arrivals"
    environment = dict(
        os.environ,
        PEER_JOBS=str(jobs),
        PEER_SPREAD=str(spread),
        PEER_PATIENCE=str(patience),
        PEER_PORT=str(port),
        PEER_REDIS_PORT=str(redis_port),
        PEER_FOLDER=str(folder),
    )
    started = []

    def start(command, **options):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True, **options)
        started.append(process)
        return process

    try:
        start(["mosquitto", "-c", folder / "mosquitto.conf"])
        until_there(port)
        subscription = ["-p", str(port), "-t", f"{work.TOPIC}/#", "-q", "1", "-F", "%U %p"]
        with open(arrivals, "w") as file:
            start(["mosquitto_sub", *subscription], stdout=file)
        time.sleep(0.5)
        peer = start([sys.executable, *script], cwd=HERE, env=environment, stdout=subprocess.PIPE, text=True)
        answer = peer.stdout.readline().split()
        if answer == ["late"]:
            return None
        if not answer:
            raise Failed(f"it never was ready\n{logs(folder)}")
        first, processes = int(answer[1]), [int(pid) for pid in answer[2:]]
        cpu_before, _ = usage(processes)
        wait_for(arrivals, jobs, first + spread + LIMIT_S)
        cpu_after, memory_mib = usage(processes)
    finally:
        for process in reversed(started):
            end(process)
    return lateness(arrivals, jobs, first) | {"cpu_s": cpu_after - cpu_before, "memory_mib": memory_mib}


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def until_there(port):
    for _ in range(100):
        time.sleep(0.05)
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
    raise Failed("Mosquitto did not start")


def wait_for(arrivals, jobs, deadline):
    """Waits until all messages have arrived, and a second more, in which repetitions would arrive."""
    before, complete = 0, False
    while time.time() < deadline:
        time.sleep(1)
        size = arrivals.stat().st_size
        if size == before and complete:
            return
        # Counting disturbs the measurement, so it happens only when nothing arrives.
        complete = size == before and arrivals.read_bytes().count(b"\n") >= jobs
        before = size


def usage(processes):
    """Returns the seconds of CPU and the MiB of memory (shared pages counted once) of processes and their children."""
    cpu = memory = 0.0
    for pid in {each for process in processes for each in family(process)}:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            shares = re.search(r"^Pss: +(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)
        except OSError:
            continue
        cpu += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
        memory += int(shares[1]) / 1024 if shares else 0
    return cpu, memory


def family(pid):
    try:
        children = [file.read_text().split() for file in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:
        children = []
    return [pid, *(each for of_thread in children for child in of_thread for each in family(int(child)))]


def end(process):
    """Ends a process and its children, which are a group."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
            process.wait(5)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            pass


def lateness(arrivals, jobs, first):
    late_ms, seen, last = [], set(), first
    for line in arrivals.read_text().splitlines():
        at, payload = line.split(" ", 1)
        last = max(last, float(at))
        seen.add(payload)
        late_ms.append((float(at) - int(payload.split(":")[0]) / 1e9) * 1000)
    if not seen:
        raise Failed("nothing arrived")
    percent = statistics.quantiles(late_ms, n=100, method="inclusive")
    return {
        "per_s": len(seen) / max(last - first, 1e-6),
        "late_p50_ms": percent[49],
        "late_p99_ms": percent[98],
        "late_max_ms": max(late_ms),
        "lost": jobs - len(seen),
        "repeated": len(late_ms) - len(seen),
    }


def logs(folder):
    return "\n".join(log.read_text()[-600:] for log in folder.glob("*.log"))
