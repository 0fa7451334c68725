"""The interface of a peer, which every peer imports.

A peer is a program. It schedules `JOBS` jobs, each of which publishes one message at QoS 1, prints `ready`, and runs until
it is ended.
"""

import math
import os
import signal
import subprocess
import sys
import time

JOBS = int(os.environ.get("PEER_JOBS", 0))
# The seconds over which the jobs are evenly due; 0: all at one instant.
SPREAD = float(os.environ.get("PEER_SPREAD", 0))
# A factor on the peer's estimate of the time to schedule them.
PATIENCE = float(os.environ.get("PEER_PATIENCE", 1))
HOST, PORT = "127.0.0.1", int(os.environ.get("PEER_PORT", 1883))
REDIS_PORT = int(os.environ.get("PEER_REDIS_PORT", 6379))
REDIS = f"redis://127.0.0.1:{REDIS_PORT}/0"
# A folder for the peer's files.
FOLDER = os.environ.get("PEER_FOLDER", ".")
TOPIC = "peers/work"


def first_due(seconds_per_job, seconds_to_start=0.0):
    """Returns when the first job is due, in whole seconds: after the time to schedule all of them, and a pause."""
    return math.ceil(time.time() + PATIENCE * (JOBS * seconds_per_job + seconds_to_start) + 5)


def due(first, number):
    """Returns when a job is due."""
    return first + SPREAD * number / JOBS


def topic(number):
    return f"{TOPIC}/{number % 1_000}"


def payload(due, number):
    """Returns the payload of a job, from which its lateness is computed."""
    return f"{round(due * 1e9)}:{number}"


def ready(first, *processes):
    """Reports that all jobs are scheduled, and the processes that do the work; then waits."""
    if time.time() > first - 2:
        print("late", flush=True)
        sys.exit()
    print("ready", first, *processes, flush=True)
    signal.pause()


_client = None


def connect():
    """Connects this process to the broker."""
    global _client
    import paho.mqtt.client as mqtt

    _client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    # No message waits for an acknowledgement.
    _client.max_inflight_messages_set(65_535)
    _client.max_queued_messages_set(0)
    _client.connect(HOST, PORT)
    _client.loop_start()


def publish(due, number):
    """Publishes one message."""
    if _client is None:
        connect()
    _client.publish(topic(number), payload(due, number), qos=1)


def redis_server():
    """Starts Redis in its fastest configuration: in memory only."""
    command = ["redis-server", "--port", str(REDIS_PORT), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    time.sleep(0.5)
    return server


def log(name):
    """Opens a file for a process's output. If the process ends too early, the end of the file is printed."""
    return open(os.path.join(FOLDER, f"{name}.log"), "w")
