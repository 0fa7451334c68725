"""The servers of the test, each a process with a log: Mosquitto and Roost. All listen on loopback, on free ports."""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

# The limit of every wait: much longer than anything takes, even on a busy machine.
PATIENCE_S = 60
# The last noon in June: in the past, so that what ends there is older than what Home Assistant has done.
TODAY = datetime.now(UTC)
NOON = datetime(TODAY.year - (TODAY.month < 7), 6, 15, 11, 0, 30, tzinfo=UTC)

MOSQUITTO = """
listener {port} 127.0.0.1
user root
allow_anonymous true
max_queued_messages 0
max_inflight_messages 0
persistence {persistence}
persistence_location {folder}/
set_tcp_nodelay true
log_dest file {folder}/log
log_type all
"""


class Failed(Exception):
    """A check that failed, and why."""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


async def until(what, condition, limit=PATIENCE_S):
    """Waits until a condition holds, and returns its value. `what` is the condition in words."""
    deadline = time.monotonic() + limit
    while True:
        began = time.monotonic()
        value = condition()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failed(f"not within {limit} s: {what}")
        # A condition that takes long is looked at rarely.
        await asyncio.sleep(max(0.05, time.monotonic() - began))


class Server:
    """A process in a folder of its own, which can be started again."""

    def __init__(self, folder):
        folder.mkdir()
        self.folder, self.process = folder, None
        self.output = folder / "output"

    def spawn(self, command, **environment):
        with open(self.output, "a") as output:
            self.process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    async def until_listening(self, port):
        def listens():
            if self.process.poll() is not None:
                raise Failed(f"{self.folder.name} ended: {self.output.read_text()[-2000:]}")
            with socket.socket() as client:
                return client.connect_ex(("127.0.0.1", port)) == 0

        await until(f"{self.folder.name} listens", listens)

    async def stop(self, how=signal.SIGTERM):
        """Stops it, or kills it with `SIGKILL`, so that it has no time for a farewell."""
        if self.process is None:
            return
        process, self.process = self.process, None
        os.killpg(process.pid, how)
        try:
            await asyncio.to_thread(process.wait, 30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise Failed(f"{self.folder.name} did not stop") from None


class Broker(Server):
    """Mosquitto. Its log has every message that it gets, and what client sent it."""

    def __init__(self, folder):
        super().__init__(folder)
        self.port, self.log = free_port(), folder / "log"

    async def start(self, persistence=True):
        words = {"port": self.port, "persistence": str(persistence).lower(), "folder": self.folder}
        (self.folder / "mosquitto.conf").write_text(MOSQUITTO.format(**words))
        self.spawn([shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin"), "-c", "mosquitto.conf"])
        await self.until_listening(self.port)

    def forget(self):
        """Removes what it has stored, while it does not run."""
        (self.folder / "mosquitto.db").unlink(missing_ok=True)

    def publish(self, topic, payload):
        subprocess.run(["mosquitto_pub", "-p", str(self.port), "-t", topic, "-m", payload], check=True, timeout=10)

    @contextmanager
    def subscribe(self, *topics):
        """Subscribes to topics. Yields a function that returns the times of arrival and the topics so far."""
        arrivals = self.folder / "arrivals"
        command = ["mosquitto_sub", "-p", str(self.port), "-F", "%U %t"]
        for topic in topics:
            command += ["-t", topic]
        with open(arrivals, "w") as output:
            subscriber = subprocess.Popen(command, stdout=output)

        def so_far():
            lines = (line.split(" ") for line in arrivals.read_text().splitlines())
            return [(float(at), topic) for at, topic in lines]

        try:
            yield so_far
        finally:
            subscriber.terminate()
            subscriber.wait()

    def mark(self):
        """Returns a place in the log, after which `messages` looks."""
        return self.log.stat().st_size if self.log.exists() else 0

    def messages(self, after=0, topic=""):
        """Returns the topics of the messages to topics that match, in the order of their arrival."""
        with open(self.log, "rb") as log:
            log.seek(after)
            text = log.read().decode()
        return re.findall(rf"Received PUBLISH from \S+ \([^']*'({topic}[^']*)'", text)


class Roost(Server):
    """A host with its plugins."""

    def __init__(self, folder, binary, broker, topic="roost"):
        super().__init__(folder)
        self.binary, self.broker, self.topic, self.port = binary, broker, topic, free_port()
        self.ahead = folder / "ahead"
        (folder / "plugins").mkdir()

    def settings(self, more="", home_assistant=True):
        (self.folder / "roost.toml").write_text(
            f'time_zone = "Europe/London"\nlatitude = 51.4779\nlongitude = -0.0015\n\n'
            f'[mqtt]\nurl = "mqtt://127.0.0.1:{self.broker.port}"\n'
            + (f'topic = "{self.topic}"\n' if self.topic != "roost" else "")
            + f'\n[http]\nlisten = "127.0.0.1:{self.port}"\n'
            + (f"\n[home_assistant]\n{more}\n" if home_assistant else "")
        )

    def add(self, plugin, text, name=None):
        """Adds a plugin with its settings, the component last, because it is loaded when it appears."""
        place = self.folder / "plugins"
        name = name or plugin.stem
        self.change(name, text)
        shutil.copy(plugin, place / f".{name}.new")
        (place / f".{name}.new").rename(place / f"{name}.wasm")

    def change(self, name, text):
        (self.folder / "plugins" / f"{name}.toml").write_text(text)

    def remove(self, name):
        (self.folder / "plugins" / f"{name}.wasm").unlink()

    async def start(self):
        """Starts it at noon in June, so that none of the samples' jobs is due meanwhile but the one of each minute."""
        if not self.ahead.exists():
            self.pass_time(seconds=(NOON - datetime.now(UTC)).total_seconds())
        self.spawn([self.binary, "run"], ROOST_CLOCK_AHEAD_FILE=str(self.ahead))
        await self.until_listening(self.port)

    def pass_time(self, **times):
        """Sets its clock ahead."""
        before = int(self.ahead.read_text()) if self.ahead.exists() else 0
        # At once, or it would read a part.
        (self.folder / "ahead.new").write_text(str(before + int(timedelta(**times).total_seconds() * 1000)))
        (self.folder / "ahead.new").rename(self.ahead)

    def devices(self):
        return json.loads(self.get("/api/v1/devices"))["items"]

    def get(self, path):
        """Returns an answer of its API."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=PATIENCE_S) as answer:
            return answer.read()

    def cli(self, *arguments):
        """Runs a command of the program against this host."""
        command = [self.binary, *arguments]
        environment = os.environ | {"ROOST_URL": f"http://127.0.0.1:{self.port}"}
        ran = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=PATIENCE_S
        )
        if ran.returncode != 0:
            raise Failed(f"roost {' '.join(arguments)}: {ran.stderr}")
        return ran.stdout
