"""AppDaemon 4: one app that calls `run_at` for each job, and publishes by AppDaemon's own MQTT plugin."""

import os
import subprocess
import sys
import time
from pathlib import Path

import work

APP = """
import os
from datetime import datetime, timezone

import appdaemon.plugins.mqtt.mqttapi as mqtt
import work


class Peer(mqtt.Mqtt):
    def initialize(self):
        first = work.first_due(0.005)
        for number in range(work.JOBS):
            due = work.due(first, number)
            self.run_at(self.publish, datetime.fromtimestamp(due, timezone.utc), due=due, number=number)
        with open(work.FOLDER + "/first.new", "w") as file:
            file.write(str(first))
        os.rename(work.FOLDER + "/first.new", work.FOLDER + "/first")

    def publish(self, *_, due, number, **__):
        self.mqtt_publish(work.topic(number), work.payload(due, number), qos=1)
"""

SETTINGS = f"""
appdaemon:
  time_zone: UTC
  latitude: 51.5
  longitude: 0
  elevation: 0
  plugins:
    MQTT:
      type: mqtt
      client_host: {work.HOST}
      client_port: {work.PORT}
"""


def main():
    folder = Path(work.FOLDER)
    (folder / "apps").mkdir()
    (folder / "apps/peer.py").write_text(APP)
    (folder / "apps/apps.yaml").write_text("peer:\n  module: peer\n  class: Peer\n")
    (folder / "appdaemon.yaml").write_text(SETTINGS)
    here = os.path.dirname(os.path.abspath(__file__))
    appdaemon = subprocess.Popen(
        [os.path.dirname(sys.executable) + "/appdaemon", "-c", str(folder)],
        env=dict(os.environ, PYTHONPATH=here, TZ="UTC"),
        stdout=work.log("appdaemon"),
        stderr=subprocess.STDOUT,
    )
    while not (folder / "first").exists():
        time.sleep(0.1)
        if appdaemon.poll() is not None:
            sys.exit("AppDaemon ended")
    work.ready(int((folder / "first").read_text()), appdaemon.pid)


main()
