"""simulate and advise on a real site: what they go by, what they say, on a terminal and through a pipe."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from terminals import Terminal, assert_screen, steady

from vcsctl.cli import outset
from vcsctl.domain.history import Row
from vcsctl.errors import UsageError
from vcsctl.store import history
from vcsctl.store.paths import Paths

Site = Any
FROM = ("--from", "2026-03-02T00:00+00:00")
UNITS = {
    "calculator": "schedule: periodical\nperiod: 5\ngroups: [billing]\nexec: [/bin/true]\n",
    "invoicing": "schedule: periodical\nperiod: 5\ngroups: [billing]\nexec: [/bin/true]\n",
    "mail": "schedule: periodical\nperiod: 1\nexec: [/bin/true]\n",
    "nightly": "schedule: fixed-time\nrun_at: [01:30]\ntimezone: UTC\ngroups: [billing, stats]\nexec: [/bin/true]\n",
    "off": "schedule: periodical\nperiod: 1\nenabled: false\nexec: [/bin/true]\n",
    "rates-daemon": "schedule: daemon\nrun_on: any\ngroups: [rates]\nexec: [/bin/sleep, 1000]\n",
    "unable": "schedule: periodical\nperiod: 10\nexec: [/nowhere/unable]\n",
}


def record(site: Site, name: str, lasted_s: list[float], outcome: Any = "ok") -> None:
    """Runs as vcsd writes them into the history."""
    at = datetime(2026, 3, 1, tzinfo=UTC)
    rows = [
        Row(f"{name}.{900 + n}", name, name, outcome, "exited", "-", at + timedelta(hours=n), "n1", duration_s=one)
        for n, one in enumerate(lasted_s)
    ]
    history.append(Paths(str(site.shared)), "n1", rows, check=False)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, site_class: type[Any]) -> Any:
    """Its vcsd has published the units and is down again."""
    site = site_class(tmp_path_factory.mktemp("site"))
    for name, text in UNITS.items():
        site.unit(name, text)
    site.unit("hidden", "")
    site.start()
    # Beside a timed service of its group a daemon's unit is faulty, and its last good version stays in force.
    site.unit("starved", "schedule: periodical\nperiod: 10\nalign: 4\ngroups: [rates]\nexec: [/bin/true]\n")
    site.reload()
    site.stop()
    record(site, "calculator", [20.0, 40.0, 60.0])
    record(site, "calculator", [3.0], "failed")
    record(site, "nightly", [3.0], "failed")
    yield site
    site.vcsctl("stop", "rates-daemon")  # its run goes on without vcsd


def simulated(site: Site, *arguments: str) -> dict[str, Any]:
    done = site.vcsctl("simulate", *arguments, "--output", "json")
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)["simulation"]
    return answer


def service(answer: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [one for one in answer["services"] if one["name"] == name]
    return found


def test_durations_are_from_the_history_or_given_or_assumed(shared: Site) -> None:
    answer = simulated(shared, *FROM, "--hours", "1", "--duration", "mail=3s")
    by = {one["name"]: (one["usual_s"], one["duration_from"]) for one in answer["services"]}
    assert by["calculator"] == (40.0, "3 runs")
    assert by["mail"] == (3.0, "given")
    assert by["invoicing"] == (10.0, "assumed")
    # It waits for a run of 20, 40, 60, 20, ... seconds.
    waits = service(answer, "invoicing")
    assert (waits["runs"], waits["wait_mean_s"], waits["wait_max_s"]) == (12, 40.0, 60.0)


def test_groups_and_starts_at_once(shared: Site) -> None:
    answer = simulated(shared, *FROM, "--hours", "1", "--duration", "invoicing=35s")
    (billing,) = [group for group in answer["groups"] if group["name"] == "billing"]
    assert billing == {
        "name": "billing",
        "share": 0.25,
        "peak_queue": 1,
        "services": ["calculator", "invoicing", "nightly"],
    }
    assert answer["peak_starts"] == {"count": 3, "minute": "2026-03-02T00:00:00Z"}


def test_what_can_never_start_is_told_with_its_reason(shared: Site) -> None:
    never = simulated(shared, *FROM, "--hours", "1")["never"]
    assert never == {
        "starved": "waits for group rates, held by rates-daemon.1",
        "unable": "program missing: /nowhere/unable",
    }
    everything = simulated(shared, *FROM, "--hours", "1", "--all")
    assert service(everything, "off")["runs"] == 60
    assert service(everything, "unable")["runs"] == 6


def test_timeline_tells_what_never_starts_of_those_it_was_asked_for(shared: Site, tmp_path: Path) -> None:
    def answer(*arguments: str) -> dict[str, Any]:
        done = shared.vcsctl("timeline", "--hours", "1", *arguments, "--output", "json")
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    assert answer()["never"] == {"hidden": "masked", "off": "disabled", "unable": "program missing: /nowhere/unable"}
    one = answer("off", "mail")
    assert one["never"] == {"off": "disabled"}
    assert "without history, assumed to last 10 s (see --duration): mail" in one["notes"]
    assert answer("--group", "billing")["never"] == {}
    line = "never starts: unable: program missing: /nowhere/unable"
    assert line in shared.vcsctl("timeline", "unable").stderr.splitlines()
    page = tmp_path / "page.html"
    shared.vcsctl("timeline", "--html", str(page))
    assert f"<p>{line}</p>" in page.read_text()


def test_what_failed_only_is_not_without_history(shared: Site) -> None:
    notes = shared.vcsctl("simulate", *FROM, "--hours", "1").stdout.splitlines()[-3:]
    assert "without history, assumed to last 10 s (see --duration): invoicing, mail, starved" in notes
    assert "no successful run, assumed to last 10 s (see --duration): nightly" in notes


def test_wishes_that_cannot_be_read_are_refused(shared: Site) -> None:
    refused = shared.vcsctl("simulate", "--duration", "mial=3s")
    assert (refused.returncode, refused.stderr) == (4, "vcsctl: unknown service mial; did you mean mail?\n")
    daemon = shared.vcsctl("advise", "--duration", "rates-daemon=5s")
    assert (daemon.returncode, "--duration: rates-daemon is a daemon" in daemon.stderr) == (2, True)
    with pytest.raises(UsageError, match=r"--duration: cannot read 'mail'; write for example calculator=90s"):
        outset.durations_of(("mail",), UNITS)
    with pytest.raises(UsageError, match=r"--duration mail: "):
        outset.durations_of(("mail=soon",), UNITS)


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_its_screen(shared: Site, columns: int) -> None:
    command = [sys.executable, "-m", "vcsctl.cli.main", "--root", str(shared.root), "simulate", *FROM]
    with Terminal(command, shared.environment, columns, 40) as terminal:
        assert terminal.end() == 0
        assert_screen(f"simulate-{columns}", _without_the_node(steady(terminal.text)))


def _without_the_node(text: str) -> str:
    """Only a vcsd that has been down for a while is told."""
    text = re.sub(r"\d{4}-\d\d-\d\d\n  hh", "YYYY-MM-DD\n  hh", text)
    return re.sub(r"\n?taken for up: .*(\n  .*)*", "", text)


def test_what_takes_longer_than_a_second_says_how_far_it_is(shared: Site) -> None:
    command = [sys.executable, "-m", "vcsctl.cli.main", "--root", str(shared.root), "simulate", "--hours", "400"]
    with Terminal(command, shared.environment) as terminal:
        terminal.until(lambda text: re.search(r"simulating: \d+%", text) is not None, "progress")


def test_it_begins_with_what_runs_now(site: Site) -> None:
    site.unit("holder", "schedule: periodical\nperiod: 60\ngroups: [g]\nenabled: false\nexec: [/bin/sleep, 1000]\n")
    site.unit("waits", "schedule: periodical\nperiod: 1\ngroups: [g]\nexec: [/bin/true]\n")
    site.unit("asked", "schedule: periodical\nperiod: 60\ngroups: [g]\nenabled: false\nexec: [/bin/true]\n")
    site.start()
    site.request("holder")
    site.until(lambda: list((site.shared / "running").glob("holder.*")), "it runs")
    site.request("asked")
    answer = simulated(site, "--hours", "0.25", "--duration", "holder=10m")
    assert service(answer, "waits")["coalesced"] >= 8
    assert service(answer, "waits")["wait_max_s"] > 500
    assert service(answer, "asked")["runs"] == 1
    assert service(answer, "asked")["wait_max_s"] > 500
    assert service(simulated(site, *FROM, "--hours", "0.25"), "waits")["coalesced"] == 0


def test_the_drop_ins_of_advise_bring_what_it_says(site: Site) -> None:
    for name in ("calculator", "invoicing", "mail"):
        site.unit(name, UNITS[name])
    site.start()
    site.vcsctl("set", "mail", "align=0", "period=20")
    site.vcsctl("set", "calculator", "timeout=2m")
    text = site.vcsctl("advise", "--hours", "2", "--duration", "calculator=50s").stdout
    before, after = re.findall(r"# (?:before: |after:  )(.*)", text)
    assert "# not moved, set by hand (see `vcsctl status NAME`): mail\n" in text
    assert before == "20m00s of waiting in all, 0 slots coalesced or missed, at most 3 starts in one minute"
    assert after == "0.0s of waiting in all, 0 slots coalesced or missed, at most 1 starts in one minute"
    for path, content in re.findall(r"^# (etc/\S+)\n(.*)$", text, re.MULTILINE):
        file = site.root / path
        file.parent.mkdir(parents=True)
        file.write_text(content + "\n")
    site.reload()
    again = site.vcsctl("advise", "--hours", "2", "--duration", "calculator=50s").stdout
    assert again.startswith(f"nothing to gain: {after}\n")


def test_what_is_done_after_reading_may_take_longer_than_reading_may() -> None:
    code = """
import time
from vcsctl.cli import context
context.READ_PATIENCE_S = 0.2
context.in_time(lambda: lambda: (time.sleep(0.5), print("done")))  # the sleep is the matter: longer than the patience
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (0, "done\n")


def test_reading_may_take_long_as_long_as_it_is_answered() -> None:
    code = """
import sys, time
from vcsctl.cli import context
context.READ_PATIENCE_S = 0.5
def read():
    for _ in range(10):
        time.sleep(0.1)  # the sleep is the matter: together they are longer than the patience
        context.answered()
    time.sleep(float(sys.argv[1]))
    return lambda: print("done")
context.in_time(read)
"""
    for hangs_s, code_and_text in (("0", (0, "done\n")), ("9", (75, ""))):
        done = subprocess.run(
            [sys.executable, "-c", code, hangs_s], capture_output=True, text=True, timeout=30, check=False
        )
        assert (done.returncode, done.stdout) == code_and_text
