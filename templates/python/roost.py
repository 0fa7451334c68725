"""Write a Roost plugin in Python: this file turns jobs and steps into what the contract in `wit/` asks for.

Lengths of time are whole milliseconds, with names that end in `_ms`. An argument that is left out has the default that
`wit/` states. What `print` writes is in `roost logs`. A `ValueError` with a sentence is shown to users as that sentence.
"""

import json
import traceback
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Callable

from componentize_py_types import Err
from wit_world.exports import schedule as wit
from wit_world.exports.tasks import TaskDescription
from wit_world.imports import calendar, sun, types  # noqa: F401: plugins use the first two


def seconds(count: float) -> int:
    return round(count * 1000)


def minutes(count: float) -> int:
    return seconds(count * 60)


def hours(count: float) -> int:
    return minutes(count * 60)


@dataclass
class Device:
    """The device that a call is about."""

    plugin: str
    name: str
    config: dict[str, Any]
    """`[config]` of the settings file, with the device's own `config` over it."""
    time_zone: str
    """An IANA name, such as `Europe/London`."""
    location: types.Location | None
    now: datetime
    """The time of this call, in UTC. Plugins have no time zone data: `calendar` knows local times."""
    until: datetime
    """How far ahead a plan must reach, if it lists times of its own."""

    def topic(self, end: str) -> str:
        """Returns a topic of the device: `<plugin>/<device>/<end>`."""
        return f"{self.plugin}/{self.name}/{end}"


def step(
    topic: str,
    payload: str | bytes = b"",
    *,
    after_ms: int = 0,
    qos: int = 1,
    retain: bool = False,
    once: bool = False,
    expiry_ms: int | None = None,
    content_type: str | None = None,
    response_topic: str | None = None,
    user: list[tuple[str, str]] | None = None,
    confirm: types.Confirm | None = None,
) -> types.Step:
    """A message of a run, so long after the run's start. Once the first one is sent, the others are sent too."""
    _check("step", topic=(topic, str), payload=(payload, (str, bytes)), after_ms=(after_ms, int), qos=(qos, int))
    _check("step", retain=(retain, bool), once=(once, bool), confirm=(confirm, (types.Confirm, type(None))))
    _check_optional("step", int, expiry_ms=expiry_ms)
    _check_optional("step", str, content_type=content_type, response_topic=response_topic)
    _check_optional("step", list, user=user)
    properties = None
    if not (expiry_ms is content_type is response_topic is user is None):
        properties = types.MessageProperties(expiry_ms, content_type, response_topic, user)
    message = types.Message(topic, _bytes(payload), qos, retain, properties)
    return types.Step(after_ms, message, once, confirm)


def confirm(topic: str, within_ms: int, *, already: bool = False, **matches: Any) -> types.Confirm:
    """The device's report that a step waits for: `text="closed"`, or `pointer="/state"` with `value="closed"` or with
    `min=48, max=52`; without any of them, any message counts."""
    _check("confirm", topic=(topic, str), within_ms=(within_ms, int), already=(already, bool))
    pointer = matches.pop("pointer", "")
    _check("confirm", pointer=(pointer, str))
    match matches:
        case {"text": str() | bytes() as text, **others} if not others:
            matcher = types.Matches_Bytes(_bytes(text))
        case {"value": value, **others} if not others:
            matcher = types.Matches_Json(types.JsonValue(pointer, json.dumps(value)))
        case {"min": int() | float() as low, "max": int() | float() as high, **others} if not others:
            matcher = types.Matches_JsonRange(types.JsonRange(pointer, float(low), float(high)))
        case {**others} if not others:
            matcher = types.Matches_Any()
        case _:
            raise ValueError(f"a confirmation is `text`, `value`, or `min` and `max`, and not {_listed(matches)}")
    return types.Confirm(topic, matcher, within_ms, already)


def job(
    id: str,
    trigger: str,
    steps: list[types.Step] | None = None,
    *,
    label: str | None = None,
    task: str | None = None,
    args: Any = None,
    grace_ms: int | None = None,
    jitter_ms: int | None = None,
    priority: int | None = None,
    attempts: int | None = None,
    give_up_after_ms: int | None = None,
    backoff_ms: int | None = None,
    run_all: bool = False,
    latest_of_group: str | None = None,
    replace: bool = False,
    queue: int | None = None,
    allow: int | None = None,
    needs: str | None = None,
) -> wit.Job:
    """What a device does, and when. It has either `steps` or a `task`, which is asked for the steps when it is due.

    The trigger is as users write it: `sunset -20m not-after 22:00`, `daily 05:30 on MON-FRI`, `every 15m`. `roost next`
    tries one. `id` is unique within the device, and the same from plan to plan.
    """
    what = f"job `{id}`"
    _check(what, id=(id, str), trigger=(trigger, str), run_all=(run_all, bool), replace=(replace, bool))
    _check_optional(what, str, label=label, task=task, latest_of_group=latest_of_group, needs=needs)
    _check_optional(what, int, grace_ms=grace_ms, jitter_ms=jitter_ms, priority=priority, attempts=attempts)
    _check_optional(what, int, give_up_after_ms=give_up_after_ms, backoff_ms=backoff_ms, queue=queue, allow=allow)
    if (steps is None) == (task is None):
        raise ValueError(f"{what} needs either `steps` or `task`")
    if task is None:
        action: wit.Action = wit.Action_Steps(_steps(steps, what))
    else:
        action = wit.Action_Task(types.Task(task, json.dumps(args)))
    if run_all and latest_of_group is not None:
        raise ValueError(f"{what} needs either `run_all` or `latest_of_group`")
    misfire: wit.Misfire | None = wit.Misfire_RunAll() if run_all else None
    if latest_of_group is not None:
        misfire = wit.Misfire_LatestOfGroup(latest_of_group)
    if replace + (queue is not None) + (allow is not None) > 1:
        raise ValueError(f"{what} needs only one of `replace`, `queue` and `allow`")
    overlap: wit.Overlap | None = wit.Overlap_Replace() if replace else None
    if queue is not None:
        overlap = wit.Overlap_Queue(queue)
    if allow is not None:
        overlap = wit.Overlap_Allow(allow)
    retry = wit.Retry(attempts, give_up_after_ms, backoff_ms)
    policy = wit.Policy(misfire, grace_ms, overlap, jitter_ms, priority, retry, needs)
    return wit.Job(id, label, wit.Trigger_Text(trigger), action, policy)


def reply(steps: list[types.Step] | None = None, *, note: str | None = None, replan: bool = False) -> types.Reply:
    """The answer of a task. Without steps, `note` says why there is nothing to do."""
    _check("the reply", replan=(replan, bool))
    _check_optional("the reply", str, note=note)
    return types.Reply(_steps([] if steps is None else steps, "the reply"), replan, note)


@dataclass
class Task:
    """A task, which users can call at any time."""

    summary: str
    """What it does, in one sentence."""
    run: Callable[[Device, Any, datetime], types.Reply]
    """Answers with the messages to send now. It gets the device, the arguments, and when the task was due."""
    args: dict[str, Any] | bool | None = None
    """A JSON Schema of the arguments: it is shown to users, and `run` checks them."""


def plugin(jobs: Callable[[Device], list[wit.Job]], tasks: dict[str, Task] | None = None) -> tuple[type, type]:
    """Makes a plugin: `Schedule, Tasks = plugin(jobs, tasks)`. `jobs` returns the complete plan; it is called once a day
    and after changes, and equal settings give equal jobs."""
    known = {} if tasks is None else tasks

    class Schedule:
        def schedule_jobs(self, ctx: types.Context) -> list[wit.Job]:
            return _sentence(lambda: _list(jobs(_device(ctx)), wit.Job, "the plan"))

    class Tasks:
        def list_tasks(self) -> list[TaskDescription]:
            schema = lambda task: None if task.args is None else json.dumps(task.args)  # noqa: E731
            return [TaskDescription(name, task.summary, schema(task)) for name, task in known.items()]

        def run_task(self, ctx: types.Context, task: types.Task, due: int) -> types.Reply:
            if task.name not in known:
                raise Err(f"there is no task `{task.name}`")
            answer = _sentence(lambda: known[task.name].run(_device(ctx), json.loads(task.args), _time(due)))
            if not isinstance(answer, types.Reply):
                raise Err(f"task `{task.name}` must return `reply(…)`, and returned {answer!r}")
            return answer

    return Schedule, Tasks


def _sentence(call: Callable[[], Any]) -> Any:
    """Raises what the host shows to users: text. Where a fault is goes to the log."""
    try:
        return call()
    except Err:
        raise
    except ModuleNotFoundError as error:
        raise Err(f"{error}: there are no files when a plugin is called, so import it at the top of the file") from error
    except ValueError as error:
        raise Err(str(error)) from error
    except Exception as error:
        print(traceback.format_exc())
        raise Err(f"{type(error).__name__}: {error}") from error


def _device(ctx: types.Context) -> Device:
    config = json.loads(ctx.config)
    return Device(ctx.plugin, ctx.device, config, ctx.time_zone, ctx.location, _time(ctx.now), _time(ctx.until))


def _time(instant: int) -> datetime:
    return datetime.fromtimestamp(instant / 1000, timezone.utc)


def _bytes(payload: str | bytes) -> bytes:
    return payload.encode() if isinstance(payload, str) else payload


def _steps(steps: Any, what: str) -> list[types.Step]:
    return _list(steps, types.Step, f"`steps` of {what}")


def _list(value: Any, kind: type, what: str) -> Any:
    if not isinstance(value, list):
        raise ValueError(f"{what} must be a list, and is {value!r}")
    for entry in value:
        if not isinstance(entry, kind):
            raise ValueError(f"an entry of {what} must be `{kind.__name__.lower()}(…)`, and is {entry!r}")
    return value


def _check_optional(what: str, kind: type, **fields: Any) -> None:
    _check(what, **{name: (value, kind) for name, value in fields.items() if value is not None})


def _check(what: str, **fields: tuple[Any, Any]) -> None:
    words = {str: "text", int: "a whole number", bool: "true or false", list: "a list", (str, bytes): "text or bytes"}
    for name, (value, kind) in fields.items():
        # `True` is an int for Python.
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise ValueError(f"`{name}` of {what} must be {words.get(kind, 'a confirmation')}, and is {value!r}")


def _listed(names: dict[str, Any]) -> str:
    return ", ".join(f"`{name}`" for name in names)
