"""What a peer is told of its work, and how it answers. Every peer imports this.

A peer is a program. It schedules `JOBS` jobs, each of which publishes one message at QoS 1, says `ready`, and goes on
until it is ended.
"""

import math
import os
import signal
import subprocess
import sys
import time

JOBS = int(os.environ.get("PEER_JOBS", 0))
# All are due within this many seconds, evenly; 0: all at one instant.
SPREAD = float(os.environ.get("PEER_SPREAD", 0))
# How much longer than a peer thinks it may take to schedule them.
PATIENCE = float(os.environ.get("PEER_PATIENCE", 1))
HOST, PORT = "127.0.0.1", int(os.environ.get("PEER_PORT", 1883))
REDIS_PORT = int(os.environ.get("PEER_REDIS_PORT", 6379))
REDIS = f"redis://127.0.0.1:{REDIS_PORT}/0"
# A folder for whatever the peer keeps.
FOLDER = os.environ.get("PEER_FOLDER", ".")
TOPIC = "peers/work"


def first_due(seconds_per_job, seconds_to_start=0.0):
    """When the first job is to be due, as a whole second: once all of them can have been scheduled, and a pause."""
    return math.ceil(time.time() + PATIENCE * (JOBS * seconds_per_job + seconds_to_start) + 5)


def due(first, number):
    """When a job is due."""
    return first + SPREAD * number / JOBS


def topic(number):
    return f"{TOPIC}/{number % 1_000}"


def payload(due, number):
    """What it publishes: from this its lateness is told."""
    return f"{round(due * 1e9)}:{number}"


def ready(first, *processes):
    """Says that all jobs are scheduled, and which processes do the work; then lets them."""
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
    # Nothing waits for an acknowledgement.
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
    """Redis at its fastest: in memory only."""
    command = ["redis-server", "--port", str(REDIS_PORT), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    time.sleep(0.5)
    return server


def log(name):
    """A file for what a process says. If it ends too early, people are shown the end of it."""
    return open(os.path.join(FOLDER, f"{name}.log"), "w")
