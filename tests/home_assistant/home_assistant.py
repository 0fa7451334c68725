"""A real Home Assistant, controlled by its API for browsers."""

import asyncio
import re
import sys
from pathlib import Path

import aiohttp

from servers import Failed, Server, free_port, until

CONFIGURATION = """
homeassistant:
  name: Test
  time_zone: Europe/London
  latitude: 51.4779
  longitude: -0.0015
  elevation: 10
  unit_system: metric
  currency: EUR
  country: GB
http:
  server_host: 127.0.0.1
  server_port: {port}
logger:
  default: warning
automation: !include automations.yaml
command_line:
  - notify:
      name: notify
      command: cat >> notifications
"""
# How long it may take to start. The first time, it installs what its integrations need.
START_S = 240
# A complaint that may be about a message of Roost: of these parts of it, …
RELEVANT = re.compile(
    r"\[homeassistant\.(?:components\.(?:mqtt|sensor|binary_sensor|switch|button|event|notify)|helpers|util)\b|roost",
    re.I,
)
# … unless the broker was stopped; or a host is removed: then it clears the topic again for each disabled entity of it.
EXPECTED = re.compile(
    r"Error returned from MQTT server|Failed to connect to MQTT server|The client is not currently connected|"
    r"No device components to cleanup for (?:roost|barn),|mqtt\.discovery is logging too frequently"
)
CLIENT = "http://127.0.0.1/"


class HomeAssistant(Server):
    """Home Assistant with the MQTT integration. It keeps the states of all entities, by their unique ids."""

    def __init__(self, folder, broker):
        super().__init__(folder)
        self.broker, self.port = broker, free_port()
        (folder / "configuration.yaml").write_text(CONFIGURATION.format(port=self.port))
        (folder / "automations.yaml").write_text("[]\n")
        # What its automations have notified of.
        self.notifications = folder / "notifications"
        self.notifications.touch()
        self.session = self.socket = self.token = self.reader = None
        self.is_set_up = False

    async def start(self):
        """Starts it, and waits until it is up."""
        self.number, self.answers, self.states, self.ids = 0, {}, {}, {}
        hass = Path(sys.executable).with_name("hass")
        self.spawn([hass, "--config", self.folder])
        self.session = aiohttp.ClientSession(f"http://127.0.0.1:{self.port}")
        if not self.is_set_up:
            await self.until_answers("/api/onboarding")
            await self.set_up()
        await self.until_answers("/api/")
        self.socket = await self.session.ws_connect("/api/websocket", max_msg_size=0)
        await self.socket.receive_json()
        await self.socket.send_json({"type": "auth", "access_token": self.token})
        if (await self.socket.receive_json())["type"] != "auth_ok":
            raise Failed("Home Assistant refused the token")
        self.reader = asyncio.create_task(self.read())
        await self.ask("supported_features", features={"coalesce_messages": 1})
        await self.follow()
        await until("Home Assistant runs", self.runs, START_S)

    async def follow(self):
        """Has each change of a state sent."""
        self.following = self.number + 1
        await self.ask("subscribe_events", event_type="state_changed")
        await self.refresh()

    async def unfollow(self):
        """Has no changes sent: Home Assistant closes the connection when there are more than 4,096 at once."""
        await self.ask("unsubscribe_events", subscription=self.following)

    async def refresh(self):
        """Asks for the states of all entities."""
        self.states = {state["entity_id"]: state for state in await self.ask("get_states")}

    async def runs(self):
        return (await self.ask("get_config"))["state"] == "RUNNING"

    async def stop(self, *how):
        if self.reader:
            self.reader.cancel()
        if self.session:
            await self.session.close()
        self.session = self.reader = None
        await super().stop(*how)

    async def until_answers(self, path):
        async def answers():
            if self.process.poll() is not None:
                raise Failed(f"Home Assistant ended: {self.output.read_text()[-2000:]}")
            headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
            try:
                async with self.session.get(path, headers=headers) as response:
                    return response.status == 200
            except aiohttp.ClientConnectionError:
                return False

        await until(f"Home Assistant answers at {path}", answers, START_S)

    async def set_up(self):
        """Makes a user, and an entry for the broker, as a person does in a browser."""
        user = {"name": "Test", "username": "test", "password": "test", "client_id": CLIENT, "language": "en"}
        code = (await self.post("/api/onboarding/users", json=user))["auth_code"]
        grant = {"grant_type": "authorization_code", "code": code, "client_id": CLIENT}
        self.token = (await self.post("/auth/token", data=grant))["access_token"]
        flows = "/api/config/config_entries/flow"
        flow = await self.post(flows, json={"handler": "mqtt"})
        broker = {"broker": "127.0.0.1", "port": self.broker.port}
        if any(field["name"] == "other_settings" for field in flow["data_schema"]):
            # Newer than 2025.4.4.
            broker["other_settings"] = {"set_client_cert": False, "set_ca_cert": "off"}
        if (made := await self.post(f"{flows}/{flow['flow_id']}", json=broker))["type"] != "create_entry":
            raise Failed(f"Home Assistant did not take the broker: {made}")
        self.is_set_up = True

    async def post(self, path, **body):
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        async with self.session.post(path, headers=headers, **body) as response:
            if response.status >= 300:
                raise Failed(f"{path}: {response.status} {await response.text()}")
            return await response.json()

    async def read(self):
        """Reads what it sends, for as long as it is connected."""
        async for message in self.socket:
            records = message.json()
            for record in records if isinstance(records, list) else [records]:
                self.take(record)

    def take(self, record):
        if record["type"] == "result":
            self.answers.pop(record["id"]).set_result(record)
        elif record["type"] == "event":
            change = record["event"]["data"]
            if change["new_state"] is None:
                self.states.pop(change["entity_id"], None)
            else:
                self.states[change["entity_id"]] = change["new_state"]

    async def ask(self, what, **more):
        """Sends a command, and returns the result."""
        if self.socket.closed:
            raise Failed("Home Assistant has closed the connection")
        self.number += 1
        answer = self.answers[self.number] = asyncio.get_running_loop().create_future()
        await self.socket.send_json({"id": self.number, "type": what, **more})
        record = await asyncio.wait_for(answer, 30)
        if not record["success"]:
            raise Failed(f"{what} {more}: {record['error']}")
        return record["result"]

    async def reload(self):
        """Reloads the MQTT integration."""
        (entry,) = await self.ask("config_entries/get", domain="mqtt")
        await self.post(f"/api/config/config_entries/entry/{entry['entry_id']}/reload")

    async def set_state(self, entity, state):
        """Sets the state of an entity that belongs to no integration."""
        await self.post(f"/api/states/{entity}", json={"state": state})

    async def add_automation(self, name, automation):
        """Adds an automation, as its editor does."""
        await self.post(f"/api/config/automation/config/{name}", json=automation)

    async def entities(self):
        """Returns the entities of Roost: their unique id, platform, and whether they are enabled."""
        listed = await self.ask("config/entity_registry/list")
        found = [entity for entity in listed if entity["platform"] == "mqtt"]
        self.ids = {entity["unique_id"]: entity["entity_id"] for entity in found}
        return {
            (entity["unique_id"], entity["entity_id"].split(".")[0], entity["disabled_by"] is None) for entity in found
        }

    async def devices(self):
        """Returns the devices of Roost, by their identifiers."""
        listed = await self.ask("config/device_registry/list")
        return {name: device for device in listed for domain, name in device["identifiers"] if domain == "mqtt"}

    def entity(self, unique):
        """Returns the state and attributes of an entity, or `None` if it has none."""
        return self.states.get(self.ids.get(unique))

    def state(self, unique):
        return (self.entity(unique) or {"state": None})["state"]

    async def call(self, unique, service, **data):
        """Calls a service, such as `button.press`, for an entity, once it is available."""
        await until(f"{unique} is available", lambda: self.state(unique) not in (None, "unavailable"))
        domain, name = service.split(".")
        await self.ask(
            "call_service",
            domain=domain,
            service=name,
            service_data=data,
            target={"entity_id": self.ids[unique]},
        )

    def complaints(self):
        """Returns the warnings and errors of its log that may be about a message of Roost."""
        found = re.findall(r"^.* (?:WARNING|ERROR|CRITICAL) .*(?:\n(?!\d{4}-).*)*", self.output.read_text(), re.M)
        return [complaint for complaint in found if RELEVANT.search(complaint) and not EXPECTED.search(complaint)]
