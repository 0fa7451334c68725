"""What a person sees of Roost in Home Assistant, in the order in which it is tried: each scenario goes on where the one
before has ended."""

import itertools
import json
import re
import signal
import time

from servers import Failed, until
from world import SAMPLES, check, expected, of_page, unique


async def appear(world):
    """the devices of the samples appear, each with its entities and no others"""
    await world.until_there()
    devices = await world.home.devices()
    names = {f"roost_{name.replace('/', '_')}": name.replace("/", " ") for name in world.samples}
    shown = {name: device["name"] for name, device in devices.items()}
    check(shown == names | {"roost": "Roost"}, f"the devices are {shown}")
    host = devices["roost"]["id"]
    strays = [name for name, device in devices.items() if name != "roost" and device["via_device_id"] != host]
    check(not strays, f"not below the host: {strays}")
    world.entity_ids = dict(world.home.ids)
    configs = world.broker.messages(topic="homeassistant/device/")
    check(len(configs) == len(set(configs)), f"described more than once: {sorted(configs)}")


async def states(world):
    """each entity has the state that Roost has"""
    await world.until_right()
    home = world.home
    check(home.state("roost_connected") == "on", "the host is not connected")
    check(home.state("roost_problem") == "off", "the host has a problem")
    check(home.state("roost_failed") == "0", f"failed runs: {home.state('roost_failed')}")

    def is_next_of_all():
        return home.state("roost_next") == min(home.state(unique(device, "next")) for device in world.samples)

    await until("the next run of all", is_next_of_all, 90)
    attributes = home.entity(unique("timers/house", "next"))["attributes"]
    check({"job", "label", "topic", "payload"} <= attributes.keys(), f"the next run has only {attributes}")


async def press(world):
    """a press of a job's button runs the job, once, and the event and the last run follow"""
    mark, home, north = world.broker.mark(), world.home, "coop-door/north"
    await home.call(unique(north, "run_close"), "button.press")
    await world.wait_message(mark, "coop-door/north/door/set")
    await until("the last run", lambda: home.state(unique(north, "last")) == "succeeded")
    event = await until("the event", lambda: happened(home, north))
    check(event["event_type"] == "succeeded" and event["job"] == "close", f"the event is {event}")
    last = home.entity(unique(north, "last"))["attributes"]
    check(last["run"] == event["run"], f"the last run is {last}, and the event {event}")
    await home.call(unique(north, "task_open"), "button.press")
    await world.wait_message(mark, "coop-door/north/door/set", 2)
    await world.until_right()
    sent = world.broker.messages(mark, "coop-door/")
    check(len(sent) == 2, f"published: {sent}")


def happened(home, device):
    """Returns the attributes of the newest event of a device."""
    event = home.entity(unique(device, "event"))
    return event["attributes"] if event and event["attributes"].get("event_type") else None


async def water(world):
    """a task takes its arguments from `notify.send_message`, and the device is running until the last step"""
    mark, home, garden = world.broker.mark(), world.home, "sprinkler/garden"
    arguments = {"zone": "lawn", "minutes": 0.1}
    await home.call(unique(garden, "notify_water"), "notify.send_message", message=json.dumps(arguments))
    await world.wait_message(mark, "sprinkler/garden/lawn/set")
    await until("the garden runs", lambda: home.state(unique(garden, "running")) == "on", 5)
    await world.wait_message(mark, "sprinkler/garden/lawn/set", 2)
    await until("the garden has ended", lambda: home.state(unique(garden, "running")) == "off")
    await until("the last run", lambda: home.state(unique(garden, "last")) == "succeeded")


async def toggle(world):
    """a switch pauses its device, and follows `roost pause` and `roost resume`"""
    home, north, south = world.home, "coop-door/north", "coop-door/south"

    def is_now(device, word):
        return until(f"{device} is {word}", lambda: home.state(unique(device, "enabled")) == word)

    await home.call(unique(north, "enabled"), "switch.turn_off")
    await is_now(north, "off")
    await until("no next run", lambda: home.state(unique(north, "next")) == "unknown")
    await world.until_right()
    world.roost.cli("resume", north)
    await is_now(north, "on")
    world.roost.cli("pause", "coop-door")
    await is_now(north, "off")
    await is_now(south, "off")
    world.roost.cli("resume", "coop-door")
    await is_now(north, "on")
    world.roost.cli("pause", "--all", "--for", "1h")
    await is_now("timers/house", "off")
    world.roost.cli("resume", "--all")
    await is_now("timers/house", "on")
    await world.until_right()


async def jobs(world):
    """with `job_switches`, each job has a switch and a skip button, which go with it; and a reload presses nothing"""
    home, north = world.home, "coop-door/north"
    await restart(world, "job_switches = true")
    world.has_switches = True
    await world.until_there()
    switch, skip = unique(north, "enabled_close"), unique(north, "skip_close")
    await until("the job's switch", lambda: home.state(switch) == "on")
    first = home.state(unique(north, "next"))
    await home.call(skip, "button.press")
    await until("a later run", lambda: home.state(unique(north, "next")) > first)
    await home.call(switch, "switch.turn_off")
    await until("the job is paused", lambda: home.state(switch) == "off")
    check(home.state(unique(north, "enabled")) == "on", "the whole device is paused")
    world.roost.cli("resume", f"{north}/close")
    await until("the job is resumed", lambda: home.state(switch) == "on")
    world.roost.cli("skip", "--undo", f"{north}/close")
    await until("the skip is undone", lambda: home.state(unique(north, "next")) == first)
    mark = world.broker.mark()
    await home.reload()
    await world.until_there()
    await world.until_right()
    world.nothing_pressed(mark)

    house = world.samples["timers/house"]
    for text, has in ((LOCK, {"jobs": [*house["jobs"], "lock"]}), ("", house)):
        world.roost.change("timers", world.settings("timers") + text)
        world.samples["timers/house"] = has
        await world.until_there()
    await restart(world)
    world.has_switches = False
    await world.until_there()
    await world.until_right()
    world.check_ids()


async def restart(world, settings=""):
    """Restarts Roost with these lines in the table for Home Assistant."""
    world.roost.settings(settings)
    await world.roost.stop()
    await world.roost.start()


LOCK = """
[[device.config.job]]
id = "lock"
label = "Lock up"
trigger = "daily 22:00"
policy = { attempts = 1 }
[[device.config.job.steps]]
topic = "timers/house/lock/set"
payload = "LOCK"
confirm = { topic = "timers/house/lock/state", matches = { text = "locked" }, within = "1s" }
"""


async def problem(world):
    """a new job gets its button; while its last run has failed, the device and the host have a problem"""
    home, house = world.home, "timers/house"
    samples = dict(world.samples)
    world.roost.change("timers", world.settings("timers") + LOCK)
    world.samples[house] = {"jobs": [*samples[house]["jobs"], "lock"]}
    await world.until_there()
    mark = world.broker.mark()
    await home.call(unique(house, "run_lock"), "button.press")
    await until("the problem", lambda: home.state(unique(house, "problem")) == "on")
    reason = home.entity(unique(house, "problem"))["attributes"]["reason"]
    check(reason and reason.startswith("lock failed: "), f"the reason is {reason}")
    event = await until("the event", lambda: happened(home, house))
    check(event["event_type"] == "failed" and event["job"] == "lock", f"the event is {event}")
    await until("the host's problem", lambda: home.state("roost_problem") == "on", 40)
    await until("the failed run is counted", lambda: home.state("roost_failed") == "1", 40)
    sent = world.broker.messages(mark, "timers/")
    check(sent == ["timers/house/lock/set"], f"published: {sent}")

    await home.call(unique(house, "run_lock"), "button.press")
    await world.wait_message(mark, "timers/house/lock/set", 2)
    world.broker.publish("timers/house/lock/state", "locked")
    await until("the end of the problem", lambda: home.state(unique(house, "problem")) == "off")
    await until("the end of the host's problem", lambda: home.state("roost_problem") == "off", 40)
    await world.until_right()

    world.roost.change("timers", world.settings("timers"))
    world.samples = samples
    await world.until_there()
    world.check_ids()
    await world.until_right()


async def fault(world):
    """a plugin at fault keeps its entities and has a problem; one that is removed loses them"""
    home, samples = world.home, dict(world.samples)
    world.roost.change("coop-door", "[config]\nnonsense = 1\n")
    await until("the problem", lambda: home.state("roost_problem") == "on", 40)
    await world.until_there()
    world.roost.change("coop-door", world.settings("coop-door"))
    await until("the end of the problem", lambda: home.state("roost_problem") == "off", 40)
    world.check_ids()

    world.roost.remove("coop-door")
    for door in ("coop-door/north", "coop-door/south"):
        del world.samples[door]
    await world.until_there()
    left = await home.devices()
    check(not [name for name in left if "coop-door" in name], f"devices are left: {sorted(left)}")
    await world.until_right()
    # Long enough after, so that Home Assistant gives the same names again.
    world.roost.add(world.plugin("coop-door"), world.settings("coop-door"))
    world.samples = samples
    await world.until_there()
    world.check_ids()


async def restarts(world):
    """restarts in every order leave the right states, and press nothing"""
    # One door is paused, so that a switch that comes back as it is by default is seen; and so is what is due each minute.
    for device in ("coop-door/south", "sprinkler/seedlings"):
        world.roost.cli("pause", device)
    await world.until_right()
    servers = {"broker": world.broker, "roost": world.roost, "home": world.home}
    for number, order in enumerate(itertools.permutations(servers)):
        how = signal.SIGKILL if number % 2 else signal.SIGTERM
        for name in reversed(order):
            await servers[name].stop(how)
        # A broker that is killed has an old memory, and once it has none.
        if number == 3:
            world.broker.forget()
        mark = world.broker.mark()
        for name in order:
            await servers[name].start()
        try:
            await world.until_there()
            await world.until_right()
            await until("the host is connected", lambda: world.home.state("roost_connected") == "on")
            world.check_ids()
            world.nothing_pressed(mark)
        except Failed as failed:
            raise Failed(f"started in the order {', '.join(order)}: {failed}") from None
    world.roost.cli("resume", "coop-door/south")
    await world.until_right()


async def away(world):
    """while Roost is away, killed or stopped, a Home Assistant that restarts has its entities, and none is available"""
    home = world.home
    for how in (signal.SIGKILL, signal.SIGTERM):
        mark = world.broker.mark()
        await world.roost.stop(how)
        await home.stop()
        await home.start()
        await world.until_there()
        available = [
            name
            for name in world.entity_ids
            if home.state(name) not in (None, "unavailable") and name != "roost_connected"
        ]
        check(not available, f"available: {available[:5]}")
        await until("the host is away", lambda: home.state("roost_connected") == "off")
        await world.roost.start()
        await world.until_right()
        world.check_ids()
        world.nothing_pressed(mark)


DEVICES = 1_000


def many():
    """Returns the settings of many devices."""
    device = """
[[device]]
name = "lamp-{n}"
[[device.config.job]]
id = "on"
label = "Light on"
trigger = "daily 21:00"
topic = "many/lamp-{n}/set"
payload = "ON"
"""
    return "".join(device.format(n=n) for n in range(DEVICES))


async def thousand(world):
    """a thousand devices appear, and a press while all of them are published again arrives within a second"""
    home, samples = world.home, dict(world.samples)
    lamp, configs = "many/lamp-7", "homeassistant/device/roost_many_"

    async def is_on(device):
        await home.refresh()
        return home.state(unique(device, "enabled")) == "on"

    await home.unfollow()
    began = time.monotonic()
    world.samples |= {f"many/lamp-{n}": {"jobs": ["on"]} for n in range(DEVICES)}
    world.roost.add(world.plugin("timers"), many(), "many")
    await world.until_there(120)
    await until("the state of the last", lambda: is_on(f"many/lamp-{DEVICES - 1}"))
    world.say(f"{DEVICES:,} devices were there after {time.monotonic() - began:.1f} s")

    mark = world.broker.mark()
    filters = "homeassistant/device/+/config", f"roost/set/{lamp}/#", f"{lamp}/set"
    with world.broker.subscribe(*filters) as arrivals:
        await until("the subscription", lambda: len(arrivals()) >= DEVICES)
        before = len(arrivals())
        world.roost.change("many", many().replace("Light on", "Lamp on"))
        await until("the first description", lambda: len(arrivals()) > before)
        pressed = time.time()
        await home.call(unique(lamp, "run_on"), "button.press")
        await until("the message", lambda: any(topic == f"{lamp}/set" for _, topic in arrivals()))
        await until("all of them", lambda: len(world.broker.messages(mark, configs)) >= DEVICES)
        arrived = {topic: at for at, topic in arrivals()}
    message, command = arrived[f"{lamp}/set"], arrived[f"roost/set/{lamp}/run/on"]
    times = [at for topic, at in arrived.items() if topic.startswith(configs)]
    world.say(
        f"{len(times)} were described again within {max(times) - min(times):.1f} s; a press after the first of them, and "
        f"before {sum(at > message for at in times)}: {message - pressed:.2f} s, of which Roost {message - command:.3f} s"
    )
    check(any(at > message for at in times), "they were all there before the press arrived")
    check(message - command < 1, f"Roost took {message - command:.2f} s")
    sent = world.broker.messages(mark, "many/")
    check(sent == [f"{lamp}/set"], f"published: {sent[:5]}")

    world.roost.remove("many")
    world.samples = samples
    await world.until_there(120)
    world.check_ids()
    await home.follow()
    await world.until_right()


async def other_host(world):
    """a second host on the same broker, with a topic of its own, neither gets commands nor loses entities of the first"""
    barn, home = world.second_roost("barn"), world.home
    barn.settings()
    barn.add(world.plugin("coop-door"), world.settings("coop-door"))
    await barn.start()
    of_barn = {name: has for name, has in SAMPLES.items() if name.startswith("coop-door/")}
    wanted = expected(of_barn, "barn") | expected(world.samples)

    async def are_there():
        return wanted <= await home.entities()

    await until("the entities of both", are_there)
    door = "coop-door/north"
    await home.call(unique(door, "enabled", "barn"), "switch.turn_off")
    await until("the pause", lambda: home.state(unique(door, "enabled", "barn")) == "off")
    check(home.state(unique(door, "enabled")) == "on", "the door of the other host is paused as well")
    await barn.stop()
    await until("the second is gone", lambda: home.state("barn_connected") == "off")
    check(home.state(unique(door, "enabled", "barn")) == "unavailable", "its door is available")
    check(home.state("roost_connected") == "on", "the first host is gone as well")
    await world.until_right()
    barn.settings(home_assistant=False)
    await barn.start()
    await world.until_there()
    await barn.stop()


async def automations(world):
    """the automations of the page do their work: a door that failed to close, rain, and a button on the wall"""
    home, roost, (found, _) = world.home, world.roost, of_page()
    check(len(found) == 3, f"the page has {len(found)} automations")
    for number, automation in enumerate(found):
        await home.add_automation(f"page_{number}", automation)

    def are_on():
        names = {name: state["state"] for name, state in home.states.items() if name.startswith("automation.")}
        return len(names) == 3 and set(names.values()) == {"on"}

    await until("the automations", are_on)
    await not_closed(world)
    await water_now(world)
    # Roost ends the pause, and not Home Assistant.
    await home.set_state("sensor.rain_today", "0")
    await home.set_state("sensor.rain_today", "6")
    garden = unique("sprinkler/garden", "enabled")
    await until("the pause", lambda: home.state(garden) == "off")
    pause = next(device for device in roost.devices() if device["device"] == "garden")["pause"]
    check(pause["reason"] == "rain", f"the pause is {pause}")
    roost.pass_time(hours=25)
    await until("the end of the pause", lambda: home.state(garden) == "on")
    await world.until_right()


async def not_closed(world):
    """A door that may not be closed: there is one notification, also if Home Assistant restarts before or after it."""
    home, roost, north = world.home, world.roost, "coop-door/north"
    last, mark = unique(north, "last"), world.broker.mark()
    await home.call(unique(north, "run_close"), "button.press")
    await world.wait_message(mark, "coop-door/north/door/set")
    await world.until_right()
    settings = world.settings("coop-door")
    roost.change("coop-door", settings + '[grants]\npublish = ["coop-door/south/#"]\n')
    await until("the refused plan", lambda: home.state(unique(north, "problem")) == "on")
    check(not home.notifications.read_text(), "notified too early")
    await home.stop()
    roost.cli("run-now", f"{north}/close")
    for _ in range(2):
        await home.start()
        await home.entities()
        await until("the last run", lambda: home.state(last) == "denied")
        await until("the notification", home.notifications.read_text)
        await roost.stop()
        await until("the end of the host", lambda: home.state(last) == "unavailable")
        await roost.start()
        await world.until_right()
        await home.stop()
    await home.start()
    await home.entities()
    await world.until_right()
    notified, reason = home.notifications.read_text(), home.entity(last)["attributes"]["reason"]
    check(notified.strip() == reason, f"notified of {notified!r}, and the reason is {reason!r}")
    roost.change("coop-door", settings)


async def water_now(world):
    """A button of another integration."""
    mark, home = world.broker.mark(), world.home
    # In less than half an hour.
    settings = world.settings("sprinkler").replace('pause = "5s"', 'pause = "1s"')
    world.roost.change("sprinkler", re.sub(r'(name = "\w+", water = )"\d+m"', r'\1"1s"', settings))
    await until("the settings", lambda: b'"after_ms":2000' in world.roost.get("/api/v1/jobs/sprinkler/garden/water"))
    await home.post("/api/events/zha_event", json={"device_ieee": "00:11:22:33:44:55:66:77", "command": "off"})
    await home.post("/api/events/zha_event", json={"device_ieee": "00:11:22:33:44:55:66:77", "command": "on"})
    # Each of the three valves is opened and closed.
    await world.wait_message(mark, "sprinkler/garden/", 6)
    await world.until_right()
    sent = world.broker.messages(mark, "sprinkler/garden/")
    check(len(sent) == 6, f"published: {sent}")
    world.roost.change("sprinkler", world.settings("sprinkler"))


async def card(world):
    """the card of the page has entities that exist, and an attribute that they have"""
    home, (_, found) = world.home, of_page()
    await home.entities()
    rows = [row if isinstance(row, dict) else {"entity": row} for row in found["entities"]]
    check(rows, "the card is empty")
    for row in rows:
        state = home.states.get(row["entity"])
        check(state and state["state"] != "unavailable", f"{row['entity']} is {state}")
        attribute = row.get("attribute")
        check(attribute is None or attribute in state["attributes"], f"{row['entity']} has no {attribute}")
    await home.ask("lovelace/config/save", config={"views": [{"cards": [found]}]})


async def only_look(world):
    """without commands there is nothing to press, and without the table in the settings there is nothing at all"""
    home = world.home
    await restart(world, "commands = false")

    async def has_no_buttons():
        platforms = {platform for _, platform, _ in await home.entities()}
        return platforms == {"sensor", "binary_sensor", "event"}

    await until("the end of the buttons and switches", has_no_buttons, 30)
    await until("the host", lambda: home.state("roost_connected") == "on")
    world.roost.settings(home_assistant=False)
    await world.roost.stop()
    await world.roost.start()

    async def has_none():
        return not await home.entities() and not await home.devices()

    await until("the end of all entities", has_none, 30)


async def log(world):
    """Home Assistant has logged neither a warning nor an error about a message"""
    complaints = world.home.complaints()
    check(not complaints, f"{len(complaints)} lines: " + "\n       ".join(complaints[:5]))


FIRST, LAST = [appear], [log]
ALL = [
    *FIRST,
    states,
    press,
    water,
    toggle,
    jobs,
    problem,
    fault,
    restarts,
    away,
    thousand,
    other_host,
    card,
    automations,
    only_look,
    *LAST,
]
