"""Celery 5 with Redis: tasks with an `eta`, a worker with two processes."""

import os
import subprocess
import sys
from datetime import datetime, timezone

import work
from celery import Celery
from celery.signals import worker_process_init

app = Celery("peer_celery", broker=work.REDIS)
app.conf.update(
    # Redis delivers a task again that was not acknowledged in time, which must not happen during a round.
    broker_transport_options={"visibility_timeout": 3600},
    task_ignore_result=True,
)


@worker_process_init.connect
def connect(**_):
    work.connect()


@app.task(name="publish")
def publish(due, number):
    work.publish(due, number)


def main():
    redis = work.redis_server()
    options = ["-c", "2", "-l", "ERROR", "--without-gossip", "--without-mingle"]
    worker = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "peer_celery", "worker", *options],
        cwd=os.path.dirname(os.path.abspath(__file__)),
        stdout=work.log("celery"),
        stderr=subprocess.STDOUT,
    )
    first = work.first_due(0.0025, 5)
    for number in range(work.JOBS):
        due = work.due(first, number)
        publish.apply_async(args=(due, number), eta=datetime.fromtimestamp(due, timezone.utc))
    work.ready(first, redis.pid, worker.pid)


if __name__ == "__main__":
    main()
