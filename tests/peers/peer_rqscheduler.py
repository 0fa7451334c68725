"""rq-scheduler with Redis: it polls ten times a second; a worker that runs jobs in its own process, without a fork for
each."""

import math
import os
import subprocess
import sys
from datetime import datetime, timezone

import work
from redis import Redis
from rq_scheduler import Scheduler


def main():
    redis = work.redis_server()
    programs, here = os.path.dirname(sys.executable), os.path.dirname(os.path.abspath(__file__))

    def start(name, *arguments):
        environment = dict(os.environ, PYTHONPATH=here)
        return subprocess.Popen(
            [f"{programs}/{name}", *arguments], env=environment, stdout=work.log(name), stderr=subprocess.STDOUT
        )

    clock = start("rqscheduler", "--url", work.REDIS, "--interval", "0.1", "--quiet")
    worker = start("rq", "worker", "--url", work.REDIS, "--worker-class", "rq.worker.SimpleWorker", "--quiet")
    scheduler = Scheduler(connection=Redis.from_url(work.REDIS))
    first = work.first_due(0.002, 2)
    for number in range(work.JOBS):
        due = work.due(first, number)
        # It stores whole seconds; due times are rounded up, so that no message is early.
        at = datetime.fromtimestamp(math.ceil(due), timezone.utc).replace(tzinfo=None)
        scheduler.enqueue_at(at, work.publish, due, number)
    work.ready(first, redis.pid, clock.pid, worker.pid)


if __name__ == "__main__":
    main()
