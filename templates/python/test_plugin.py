import json
import subprocess
import unittest


def messages(start, days):
    """Runs the built plugin in Roost, in virtual time."""
    site = ["--time-zone", "Europe/London", "--latitude", "51.4779", "--longitude", "-0.0015"]
    command = ["roost", "simulate", "plugin-name.wasm", "--json", "--from", start, "--days", days, *site]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    return [f"{message['device']} {message['at'][:16]} {message['payload']}" for message in json.loads(out)]


class Door(unittest.TestCase):
    def test_it_opens_not_before_half_past_six_in_summer_and_closes_at_sunset(self):
        expected = ["north 2027-06-21T06:30 OPEN", "north 2027-06-21T21:20 CLOSE"]
        self.assertEqual(messages("2027-06-21", "1"), expected)
