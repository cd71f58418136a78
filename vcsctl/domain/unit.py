"""The unit: the declaration of one service, one class for each kind. Values only: no files, no clock.

The classes are plain dataclasses, so that vcsd and its runners need not load pydantic (it costs 0.1 s and
10 MiB); each field carries the parser of its text, and floor 1 validates files against these classes
through pydantic, which knows how to call it. What a kind cannot have, its class has no field for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, get_args, get_type_hints

from vcsctl.domain import values
from vcsctl.domain.calendar import AtTimes, EveryMinutes, Schedule, in_words
from vcsctl.domain.parsed import Bool, Duration, FieldError, Parsed, Text
from vcsctl.domain.run import LOCK

Kind = Literal["daemon", "periodical", "fixed-time"]


Names = Annotated[tuple[str, ...], Parsed(values.UniqueList(values.parse_name))]
Nodes = Annotated[tuple[str, ...], Parsed(values.UniqueList(values.parse_node))]
Argv = Annotated[tuple[str, ...], Parsed(values.parse_argv)]
RunOn = Annotated[str, Parsed(values.OneOf("any", "each"))]
ExitCode = values.WholeNumber(0, 255)


def _parse_unit_name(value: object) -> str:
    name = values.parse_name(value)
    if name == LOCK:
        raise ValueError(f"cannot be {LOCK}: what `vcsctl lock` runs is recorded under it; rename the unit's file")
    return name


def parse_exit_codes(value: object) -> tuple[int, ...]:
    return tuple(int(code) for code in values.UniqueList(lambda item: str(ExitCode(item)), lowest=1)(value))


class Nested:
    """A parser of a map into the small dataclass `cls`, by the parsers of its own fields."""

    __slots__ = ("cls",)

    def __init__(self, cls: type[Any]) -> None:
        self.cls = cls

    def __call__(self, value: object) -> Any:
        parsers = field_parsers(self.cls)
        if not isinstance(value, Mapping):
            raise ValueError(f"must be a map; write one or more of {', '.join(parsers)} below it")
        found: dict[str, Any] = {}
        for key, item in value.items():
            if key not in parsers:
                raise values.ItemError(key, f"unknown key {values.quoted(key)}; write {', '.join(parsers)}")
            if item is None:
                continue  # resets to the default
            try:
                found[key] = parsers[key](item)
            except ValueError as error:
                raise values.ItemError(key, f"{key}: {error}") from None
        return self.cls(**found)


def field_parsers(cls: type[Any]) -> dict[str, Callable[[object], Any]]:
    """Key → parser of its text, for a class whose fields are annotated with `Parsed`."""
    hints = get_type_hints(cls, include_extras=True)
    return {f.name: parser for f in dataclasses.fields(cls) if (parser := _parser_in(hints[f.name])) is not None}


def _parser_in(hint: Any) -> Callable[[object], Any] | None:
    for part in (hint, *get_args(hint)):
        for extra in reversed(getattr(part, "__metadata__", ())):  # the outermost, as for pydantic
            if isinstance(extra, Parsed):
                return extra.parse
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """Further attempts of a slot whose run failed; the delay doubles from attempt to attempt."""

    attempts: Annotated[int, Parsed(values.WholeNumber(0, 100))] = 0
    delay: Duration = 30.0
    max_delay: Duration = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """How to ask a daemon whether it is well; exactly one of the four ways."""

    tcp: Annotated[str, Parsed(values.parse_address)] | None = None
    http: Annotated[str, Parsed(values.parse_url)] | None = None
    exec: Argv = ()
    after: Duration | None = None

    def __post_init__(self) -> None:
        if sum(way not in (None, ()) for way in (self.tcp, self.http, self.exec, self.after)) != 1:
            raise ValueError("needs exactly one of tcp, http, exec, after; write for example {tcp: 127.0.0.1:1812}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    tcp: Annotated[str, Parsed(values.parse_address)] | None = None
    http: Annotated[str, Parsed(values.parse_url)] | None = None
    exec: Argv = ()
    period: Duration = 30.0
    timeout: Duration = 5.0
    threshold: Annotated[int, Parsed(values.WholeNumber(1, 100))] = 3

    def __post_init__(self) -> None:
        if sum(way not in (None, ()) for way in (self.tcp, self.http, self.exec)) != 1:
            raise ValueError("needs exactly one of tcp, http, exec; write for example {tcp: 127.0.0.1:1812}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reload:
    """How a daemon is told to read its configuration anew: a signal to its main process, or a command."""

    signal: Annotated[str, Parsed(values.parse_signal)] | None = None
    exec: Argv = ()

    def __post_init__(self) -> None:
        if (self.signal is None) == (not self.exec):
            raise ValueError("needs exactly one of signal, exec; write for example {signal: HUP}")


def parse_ready(value: object) -> Probe | str:
    if value == "notify":
        return "notify"
    if isinstance(value, Mapping):
        probe: Probe = Nested(Probe)(value)
        return probe
    raise ValueError("cannot be read; write notify, or a map with one of tcp, http, exec, after")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitBase:
    """What every kind has. Durations are in seconds."""

    # pydantic's settings for a plain dataclass: a key without a field is a fault, never dropped.
    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}
    schedule: ClassVar[Kind]

    name: Annotated[str, Parsed(_parse_unit_name)]
    title: Annotated[str, Parsed(values.parse_line)] = ""
    description: Text = ""
    provider: Annotated[str, Parsed(values.OneOf("builtin", "package", "site"))] = "site"
    enabled: Bool = True
    nodes: Nodes = ()
    groups: Names = ()
    exec: Argv
    timeout: Duration | None = None
    stop_timeout: Duration = 30.0
    stop_signal: Annotated[str, Parsed(values.parse_signal)] = "TERM"
    on_storage_loss: Annotated[str, Parsed(values.OneOf("stop", "continue"))] | None = None
    user: Annotated[str, Parsed(values.parse_account)] | None = None
    group: Annotated[str, Parsed(values.parse_account)] | None = None
    working_directory: Annotated[str, Parsed(values.parse_path)] | None = None
    umask: Annotated[int, Parsed(values.parse_umask)] | None = None
    environment: Annotated[dict[str, str], Parsed(values.parse_environment)] = field(default_factory=dict)
    environment_files: Annotated[tuple[str, ...], Parsed(values.UniqueList(values.parse_optional_path))] = ()
    nice: Annotated[int, Parsed(values.WholeNumber(-20, 19))] | None = None
    limits: Annotated[dict[str, tuple[int, int]], Parsed(values.parse_limits)] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedUnit(UnitBase):
    """What periodical and fixed-time services share."""

    run_on: RunOn = "any"
    timezone: Annotated[str, Parsed(values.parse_timezone)] | None = None
    start_within: Duration | None = None
    retries: Annotated[Retries, Parsed(Nested(Retries))] = Retries()
    on_lost: Annotated[str, Parsed(values.OneOf("none", "rerun"))] = "none"
    success_exit_codes: Annotated[tuple[int, ...], Parsed(parse_exit_codes)] = (0,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Periodical(TimedUnit):
    schedule: ClassVar[Kind] = "periodical"

    period: Annotated[
        int, Parsed(values.WholeNumber(1, 60, "; for a longer period use schedule: fixed-time with run_at"))
    ]
    align: Annotated[int, Parsed(values.WholeNumber(0, 59))] = 0

    def __post_init__(self) -> None:
        if self.align >= self.period:
            remedy = f"write a number from 0 to {self.period - 1}" if self.period > 1 else "write 0"
            raise FieldError("align", f"must be less than the period ({self.period}), not {self.align}; {remedy}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedTime(TimedUnit):
    schedule: ClassVar[Kind] = "fixed-time"

    run_at: Annotated[tuple[str, ...], Parsed(values.UniqueList(values.parse_time_of_day, lowest=1))]
    days: Annotated[tuple[str, ...], Parsed(values.UniqueList(values.parse_day, lowest=1))] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon(UnitBase):
    schedule: ClassVar[Kind] = "daemon"

    run_on: RunOn = "each"
    restart: Annotated[str, Parsed(values.OneOf("always", "on-failure", "never"))] = "always"
    restart_delay: Duration = 0.5
    restart_max_delay: Duration = 30.0
    start_limit: Annotated[tuple[int, float], Parsed(values.parse_start_limit)] = (5, 60.0)
    start_timeout: Duration = 90.0
    ready: Annotated[Probe | str, Parsed(parse_ready)] | None = None
    health: Annotated[Health, Parsed(Nested(Health))] | None = None
    watchdog: Duration | None = None
    reload: Annotated[Reload, Parsed(Nested(Reload))] | None = None
    log_size: Annotated[int, Parsed(values.parse_size)] = 10 << 20
    log_keep: Annotated[int, Parsed(values.WholeNumber(1, 100))] = 5


Unit = Daemon | Periodical | FixedTime
KINDS: dict[str, type[Unit]] = {"daemon": Daemon, "periodical": Periodical, "fixed-time": FixedTime}
TIMED_KEYS_OF: dict[str, tuple[str, ...]] = {"periodical": ("period", "align"), "fixed-time": ("run_at", "days")}


def keys_of(kind: str) -> tuple[str, ...]:
    """The keys a unit file of that kind may have."""
    return ("schedule", *(f.name for f in dataclasses.fields(KINDS[kind]) if f.name != "name"))


def schedule_of(unit: Periodical | FixedTime, cell_timezone: str) -> Schedule:
    timezone = unit.timezone or cell_timezone
    if isinstance(unit, Periodical):
        return EveryMinutes(unit.period, unit.align, timezone)
    return AtTimes(unit.run_at, unit.days, timezone)


def schedule_text(unit: Unit) -> str:
    """The schedule in a few words, as `status` shows it."""
    match unit:
        case Daemon():
            return "daemon"
        case Periodical() | FixedTime():
            return in_words(schedule_of(unit, ""))


def allowed_on(unit: Unit, node: str, labels: tuple[str, ...]) -> bool:
    """Whether the unit's `nodes` admit this node; no `nodes` admits every node."""
    return not unit.nodes or node in unit.nodes or any(f"label:{label}" in unit.nodes for label in labels)


def key_of(unit: Unit, node: str) -> str:
    """What may run once at a time: the service, or with `run_on: each` the service on one node."""
    return f"{unit.name}@{node}" if unit.run_on == "each" else unit.name


def stops_on_storage_loss(unit: Unit, taken: Collection[str]) -> bool:
    """`taken`: the groups that the run holds. While nodes disagree they may be more than its own unit names."""
    if unit.on_storage_loss is not None:
        return unit.on_storage_loss == "stop"
    return bool(taken) or unit.run_on == "any"


# What the process of a daemon sees: when none of it changes, a changed unit restarts nothing.
SEEN_BY_THE_PROCESS = (
    *("exec", "user", "group", "working_directory", "umask", "environment", "environment_files", "nice", "limits"),
)
# What its runner goes by, which keeps the unit that the run began with.
HEEDED_BY_THE_RUNNER = (
    *("timeout", "stop_timeout", "stop_signal", "on_storage_loss", "restart", "restart_delay", "restart_max_delay"),
    *("start_limit", "start_timeout", "ready", "health", "reload", "log_size", "log_keep"),
)


def seen_changes(before: Unit, after: Unit) -> tuple[str, ...]:
    """The keys by which the processes of two units of one service can tell them apart."""
    then, now = _seen(before), _seen(after)
    return tuple(key for key in now if then.get(key) != now[key])


def _seen(unit: Unit) -> dict[str, object]:
    found: dict[str, object] = {key: getattr(unit, key) for key in SEEN_BY_THE_PROCESS}
    if isinstance(unit, Daemon):  # by NOTIFY_SOCKET and WATCHDOG_USEC
        found |= {"ready": unit.ready == "notify", "watchdog": unit.watchdog}
    return found


def late_changes(before: Daemon, after: Daemon) -> tuple[str, ...]:
    """The keys whose change counts for a live run only when it is restarted; none where others restart it anyway."""
    if seen_changes(before, after):
        return ()
    return tuple(key for key in HEEDED_BY_THE_RUNNER if getattr(before, key) != getattr(after, key))


def needs_no_share(unit: Unit) -> bool:
    """Whether a service is started and kept up without the shared directory: a daemon of each node, in no group."""
    return isinstance(unit, Daemon) and unit.run_on == "each" and not unit.groups


def _default_of(f: dataclasses.Field[Any]) -> Any:
    return f.default_factory() if f.default_factory is not dataclasses.MISSING else f.default


_DEFAULTS = {
    kind: [(f.name, _default_of(f)) for f in dataclasses.fields(cls) if f.name != "name"] for kind, cls in KINDS.items()
}


def to_plain(unit: Unit) -> dict[str, Any]:
    """The unit as JSON values, defaults left out; `from_plain` reads it back."""
    plain: dict[str, Any] = {"schedule": unit.schedule, "name": unit.name}
    for key, default in _DEFAULTS[unit.schedule]:
        value = getattr(unit, key)
        if value != default:
            plain[key] = dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value  # type: ignore[arg-type]
    return plain


def _with_tuples(plain: Mapping[str, Any]) -> dict[str, Any]:
    """JSON knows lists only; what was a tuple becomes one again."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in plain.items()}


def from_plain(plain: Mapping[str, Any]) -> Unit:
    """Raises KeyError, TypeError or ValueError when `plain` is not what `to_plain` wrote."""
    found = _with_tuples(plain)
    kind: Any = KINDS[found.pop("schedule")]
    if "retries" in found:
        found["retries"] = Retries(**found["retries"])
    if "limits" in found:
        found["limits"] = {name: (limit[0], limit[1]) for name, limit in found["limits"].items()}
    if isinstance(found.get("ready"), Mapping):
        found["ready"] = Probe(**_with_tuples(found["ready"]))
    if "health" in found:
        found["health"] = Health(**_with_tuples(found["health"]))
    if "reload" in found:
        found["reload"] = Reload(**_with_tuples(found["reload"]))
    unit: Unit = kind(**found)
    return unit


def with_fields(unit: Unit, fields: Mapping[str, object]) -> Unit:
    """The unit with some keys changed, their values as texts of a unit file (an override's form).

    When `schedule` changes between the timed kinds, the keys of the other kind fall away.
    Raises ValueError with the key's sentence when a value does not fit.
    """
    kind = values.text_of(fields.get("schedule", unit.schedule))
    if kind != unit.schedule and "daemon" in (kind, unit.schedule):
        raise FieldError(
            "schedule", "cannot change between daemon and the timed kinds; that is configured at deployment"
        )
    if kind not in KINDS:
        raise FieldError("schedule", f"cannot be {values.quoted(kind)}; write periodical or fixed-time")
    cls = KINDS[kind]
    parsers = field_parsers(cls)
    found: dict[str, Any] = {f.name: getattr(unit, f.name) for f in dataclasses.fields(cls) if hasattr(unit, f.name)}
    for key, value in fields.items():
        if key == "schedule":
            continue
        if key not in parsers:
            raise FieldError(key, f"does not belong to a {kind} service")
        try:
            found[key] = parsers[key](value)
        except ValueError as error:
            raise FieldError(key, str(error)) from None
    for needed in TIMED_KEYS_OF.get(kind, ())[:1]:
        if needed not in found:
            raise FieldError(needed, f"is required for schedule {kind}; set it in the same command")
    return cls(**found)
