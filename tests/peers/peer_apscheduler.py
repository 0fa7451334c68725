"""APScheduler 3: its background scheduler with ten threads. `memory`: as it is; `sqlite`: with its store in SQLite."""

import os
import sys
from datetime import datetime, timezone

import work
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from sqlalchemy import create_engine, event


def sqlite():
    """Makes SQLite durable, and faster than its defaults."""
    engine = create_engine(f"sqlite:///{work.FOLDER}/jobs.sqlite")

    @event.listens_for(engine, "connect")
    def settings(connection, _):
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")

    return SQLAlchemyJobStore(engine=engine)


def main():
    durable = sys.argv[1] == "sqlite"
    work.connect()
    scheduler = BackgroundScheduler(
        jobstores={"default": sqlite() if durable else MemoryJobStore()},
        executors={"default": ThreadPoolExecutor(10)},
        timezone=timezone.utc,
    )
    # Paused while jobs are added, because it searches all jobs after each one.
    scheduler.start(paused=True)
    first = work.first_due(0.008 if durable else 0.0002)
    for number in range(work.JOBS):
        due = work.due(first, number)
        scheduler.add_job(
            work.publish,
            "date",
            run_date=datetime.fromtimestamp(due, timezone.utc),
            args=[due, number],
            id=str(number),
            misfire_grace_time=None,
        )
    scheduler.resume()
    work.ready(first, os.getpid())


main()
