"""The broker, Roost and Home Assistant together, and what Home Assistant should have."""

import re
from datetime import UTC, datetime
from pathlib import Path

import yaml

from home_assistant import HomeAssistant
from servers import Broker, Failed, Roost, until

PAGE = Path(__file__).parents[2] / "docs/home-assistant.md"
SAMPLE_PLUGINS = ("coop-door", "greenhouse", "sprinkler", "timers")
# The devices of the sample plugins, with the jobs that recur and the tasks. A task that needs no arguments is a button.
SAMPLES = {
    "coop-door/north": {"jobs": ["open", "close"], "button": ["open", "close"]},
    "coop-door/south": {"jobs": ["open", "close"], "button": ["open", "close"]},
    "greenhouse/tomatoes": {"jobs": ["vent-summer", "vent-winter", "lamps-on", "lamps-off"], "notify": ["air"]},
    "sprinkler/garden": {"jobs": ["water"], "notify": ["water"]},
    "sprinkler/seedlings": {"jobs": ["mist"], "notify": ["water"]},
    "timers/house": {"jobs": ["porch-on", "porch-off", "chime"]},
}
SENSORS = {"next": "sensor", "last": "sensor", "problem": "binary_sensor", "running": "binary_sensor", "event": "event"}
OF_HOST = {"connected": "binary_sensor", "problem": "binary_sensor", "next": "sensor", "failed": "sensor"}
OF_HOST_DISABLED = ("lateness", "plugins", "devices", "jobs")


def check(holds, what):
    if not holds:
        raise Failed(what)


def unique(device, key, host="roost"):
    """Returns the unique id of an entity of a device; the samples' names need no escapes."""
    return f"{host}_{device.replace('/', '_')}_{key}"


def expected(samples, host="roost", has_switches=False):
    """Returns all entities: their unique id, platform, and whether they are enabled."""
    entities = {(f"{host}_{key}", platform, True) for key, platform in OF_HOST.items()}
    entities |= {(f"{host}_{key}", "sensor", False) for key in OF_HOST_DISABLED}
    for device, has in samples.items():
        of_device = {(key, platform, True) for key, platform in SENSORS.items()}
        of_device.add(("enabled", "switch", True))
        for job in has["jobs"]:
            of_device.add((f"run_{job}", "button", True))
            if has_switches:
                of_device |= {(f"skip_{job}", "button", True), (f"enabled_{job}", "switch", True)}
        of_device |= {(f"task_{task}", "button", True) for task in has.get("button", [])}
        of_device |= {(f"notify_{task}", "notify", True) for task in has.get("notify", [])}
        entities |= {(unique(device, key, host), *entity) for key, *entity in of_device}
    return entities


def of_page():
    """Returns the automations and the card of the page for users."""
    blocks = [yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(), re.M | re.S)]
    (card,) = [block for block in blocks if "alias" not in block]
    return [block for block in blocks if "alias" in block], card


class World:
    """The broker, Roost and Home Assistant, and what Home Assistant should have."""

    def __init__(self, folder, binary, plugins):
        self.folder, self.binary, self.plugins = folder, binary, plugins
        self.broker = Broker(folder / "broker")
        self.roost = Roost(folder / "roost", binary, self.broker)
        self.home = HomeAssistant(folder / "home-assistant", self.broker)
        self.servers = [self.broker, self.roost, self.home]
        self.samples, self.has_switches, self.entity_ids, self.figures = dict(SAMPLES), False, {}, []

    async def start(self):
        """Starts all, with the sample plugins."""
        self.roost.settings()
        for plugin in SAMPLE_PLUGINS:
            self.roost.add(self.plugin(plugin), self.settings(plugin))
        for server in self.servers:
            await server.start()

    async def stop(self):
        for server in reversed(self.servers):
            await server.stop()

    def plugin(self, name):
        return self.plugins / f"{name}.wasm"

    def settings(self, name):
        """Returns the settings that a sample plugin comes with."""
        return self.plugin(name).with_suffix(".toml").read_text()

    def second_roost(self, topic):
        roost = Roost(self.folder / topic, self.binary, self.broker, topic)
        self.servers.append(roost)
        return roost

    def say(self, figure):
        self.figures.append(figure)

    async def until_there(self, limit=30):
        """Waits until exactly the right entities are there."""
        wanted = expected(self.samples, has_switches=self.has_switches)

        async def are_there():
            found = await self.home.entities()
            self.wrong = [f"{name} ({platform}) is missing" for name, platform, _ in sorted(wanted - found)]
            self.wrong += [f"{name} ({platform}) is too much" for name, platform, _ in sorted(found - wanted)]
            return not self.wrong

        try:
            await until("the entities", are_there, limit)
        except Failed:
            raise Failed(f"{len(self.wrong)} entities are not as they should be: {', '.join(self.wrong[:8])}") from None

    async def until_right(self):
        """Waits until each state is what Roost says of the device."""

        def are_right():
            self.wrong = [fault for device in self.roost.devices() for fault in self.faults_of(device)]
            return not self.wrong

        try:
            await until("the states", are_right, 30)
        except Failed:
            raise Failed("; ".join(self.wrong[:8])) from None

    def faults_of(self, device):
        """Yields where the entities of a device show something else than Roost's record of it."""
        name = f"{device['plugin']}/{device['device']}"

        def compare(key, wanted):
            shown = self.home.state(unique(name, key))
            if shown != wanted:
                yield f"{key} of {name} is {shown}, not {wanted}"

        is_paused = device["paused"] or device["plugin_paused"]
        due, last = device.get("due"), device.get("last")
        yield from compare("enabled", "off" if is_paused else "on")
        yield from compare("next", at_utc(due) if due and not is_paused else "unknown")
        yield from compare("last", last["state"] if last else "unknown")
        yield from compare("running", "on" if device.get("running") else "off")
        yield from compare("problem", "on" if device.get("fault") or device.get("error") else "off")

    def check_ids(self):
        """Checks that all entities have the names that they had at first."""
        others = {name: self.home.ids[name] for name, old in self.entity_ids.items() if self.home.ids[name] != old}
        check(not others, f"other names: {others}")

    def wait_message(self, mark, topic, count=1):
        """Waits until the broker has got so many messages on a topic."""

        def has_come():
            return len(self.broker.messages(mark, topic)) >= count

        return until(f"a message on {topic}", has_come)

    def nothing_pressed(self, mark):
        """Checks that since a mark neither a command nor a message to a device was published, but by what is due each
        minute."""
        pressed = [
            topic
            for topic in self.broker.messages(mark)
            if topic.startswith("roost/set/")
            or topic.split("/")[0] in SAMPLE_PLUGINS
            and not topic.startswith("sprinkler/seedlings/")
        ]
        check(not pressed, f"published again: {pressed[:5]}")


def at_utc(text):
    """Returns a time as Home Assistant shows it: in whole seconds, UTC."""
    return datetime.fromisoformat(text).astimezone(UTC).replace(microsecond=0).isoformat()
