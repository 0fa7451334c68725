from roost import Device, Task, job, minutes, plugin, reply, step


def settings(device: Device) -> tuple[str, str]:
    """What users may set in `plugin-name.toml`: each missing setting has a default here."""
    config = {"open_not_before": "06:30", "close_not_after": "22:00"}
    for key, value in device.config.items():
        if key not in config:
            raise ValueError(f"there is no setting `{key}`")
        config[key] = value
    return config["open_not_before"], config["close_not_after"]


def jobs(device: Device):
    """The complete plan of one device. Roost keeps it on disk and sends the messages, also after a crash."""
    not_before, not_after = settings(device)
    door = device.topic("door/set")
    # After an outage, only the newer of both counts.
    return [
        job("open", f"sunrise not-before {not_before}", [step(door, "OPEN")], latest_of_group="door"),
        job("close", f"sunset not-after {not_after}", [step(door, "CLOSE")], latest_of_group="door"),
    ]


def let_out(device: Device, args, due):
    count = args.get("minutes") if isinstance(args, dict) else None
    if not isinstance(count, int) or count < 1:
        raise ValueError("`minutes` must be a whole number of 1 or more")
    print(f"the door is open for {count} min")
    door = device.topic("door/set")
    # Once OPEN is sent, CLOSE is owed: it is sent whatever happens.
    return reply([step(door, "OPEN"), step(door, "CLOSE", after_ms=minutes(count))])


# What users can call at any time, from the page or with `roost schedule now --task`.
args = {"type": "object", "properties": {"minutes": {"type": "integer"}}, "required": ["minutes"]}
Schedule, Tasks = plugin(jobs, {"let-out": Task("Open the door for some minutes", let_out, args)})
