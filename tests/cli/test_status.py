"""`status` as a whole: the manual's table, and what stands beside it."""

from __future__ import annotations

import json
import re
from typing import Any

Site = Any

TABLE = """\
Daemon
  STATUS   NAME   SCHEDULE  ALLOWED NODES  RUN GROUPS  LAST RUN                      IN QUEUE
  enabled  radio  daemon    all            -           up since YYYY-MM-DD hh:mm:ss  -

Periodical
  STATUS      NAME       SCHEDULE        ALLOWED NODES            RUN GROUPS      LAST RUN                           IN QUEUE
  disabled    calc       every 5 min +2  all                      billing         running since YYYY-MM-DD hh:mm:ss  -
  disabled    invoicing  every 10 min    bill1, bill2, label:any  billing, stats  -                                  since YYYY-MM-DD hh:mm:ss, waits for group billing, held by calc.1 on bill2
  disabled *  lacking    every 60 min    all                      -               -                                  -

Fixed Time
  STATUS    NAME    SCHEDULE                    ALLOWED NODES  RUN GROUPS  LAST RUN                         IN QUEUE
  disabled  backup  04:05 16:05 on mon,15,last  all            -           YYYY-MM-DD hh:mm:ss failed 0.0s  -

Not Loaded
  STATUS  NAME    SCHEDULE  ALLOWED NODES  RUN GROUPS  LAST RUN  IN QUEUE
  masked  hidden  -         all            -           -         -

* `vcsctl status NAME` says more
"""


def declare(site: Site) -> None:
    site.configure("node: bill2\nheartbeat: 1s\n")
    site.unit("radio", "schedule: daemon\nexec: [/bin/sleep, 1000]\n")
    site.unit(
        "calc",
        "schedule: periodical\nperiod: 5\nalign: 2\nenabled: false\ngroups: [billing]\nexec: [/bin/sleep, 1000]\n",
    )
    site.unit(
        "invoicing",
        "title: Invoicing\ndescription: Makes invoices\nschedule: periodical\nperiod: 10\nenabled: false\n"
        "nodes: [bill1, bill2, label:any]\ngroups: [billing, stats]\nexec: [/bin/true]\n",
    )
    site.unit("lacking", "schedule: periodical\nperiod: 60\nenabled: false\nexec: [/nonexistent/program]\n")
    site.unit(
        "backup",
        "schedule: fixed-time\nrun_at: [04:05, 16:05]\ndays: [mon, 15, last]\nenabled: false\nexec: [/bin/false]\n",
    )
    site.unit("hidden", "")


def normalised(text: str) -> str:
    """Times as placeholders of the same width, so that the columns stay where they are."""
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "YYYY-MM-DD hh:mm:ss", text)
    return re.sub(r"failed \d\.\ds", "failed 0.0s", text)


def test_status_is_the_manuals_table(site: Site) -> None:
    declare(site)
    site.start()
    assert site.vcsctl("run", "backup", "--wait").returncode == 1
    assert site.vcsctl("run", "calc", "invoicing").returncode == 0
    site.until(lambda: "held by calc.1" in site.vcsctl("status", "invoicing").stdout, "invoicing waits for calc")
    site.until(lambda: "up since" in site.vcsctl("status", "radio").stdout, "the daemon is up")
    shown = site.vcsctl("status")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert normalised(shown.stdout) == TABLE


def test_status_of_one_service_says_more(site: Site) -> None:
    declare(site)
    site.start()
    shown = site.vcsctl("status", "lacking").stdout
    assert "\n  nodes:     all; no groups; provider: site\n  program missing: /nonexistent/program\n" in shown
    assert site.vcsctl("status", "invoicing").stdout.startswith("invoicing: Invoicing\n  Makes invoices\n")


def test_status_as_json_has_a_version_and_all_columns(site: Site) -> None:
    declare(site)
    site.start()
    site.vcsctl("run", "calc", "invoicing")
    site.until(lambda: "held by calc.1" in site.vcsctl("queue").stdout, "invoicing waits for calc")
    answer = json.loads(site.vcsctl("status", "--output", "json").stdout)
    assert answer["version"] == 1
    found = {one["name"]: one for one in answer["services"]}
    assert sorted(found) == ["backup", "calc", "hidden", "invoicing", "lacking", "radio"]
    assert found["calc"]["running"] == "calc.1"
    assert found["invoicing"]["waits_for"] == "waits for group billing, held by calc.1 on bill2"
    assert found["invoicing"]["queued_since"].endswith("Z")
    assert found["invoicing"]["allowed_nodes"] == ["bill1", "bill2", "label:any"]
    assert found["invoicing"]["run_groups"] == ["billing", "stats"]
    assert found["lacking"]["notes"] == ["program missing: /nonexistent/program"]
    queue = json.loads(site.vcsctl("queue", "--output", "json").stdout)
    assert [len(entry["entries"]) for entry in queue["queue"]] == [1]
    assert [(entry["key"], entry["waits_for"]) for entry in queue["queue"]] == [
        ("invoicing", found["invoicing"]["waits_for"])
    ]


def test_a_broken_unit_is_shown_first_with_its_place_and_keeps_its_last_good_version(site: Site) -> None:
    declare(site)
    site.start()
    site.unit("calc", "schedule: periodical\nperiod: 90\nexec: [/bin/true]\n")
    reloaded = site.vcsctl("reload")
    assert reloaded.returncode == 2
    assert reloaded.stderr.startswith(f"{site.units}/calc.yaml:2:")
    assert ": period: must be from 1 to 60, not 90" in reloaded.stderr
    shown = site.vcsctl("status").stdout
    assert shown.startswith(f"problem: {reloaded.stderr}")
    assert "every 5 min +2" in shown
    assert "the last good version is in force" in site.vcsctl("status", "calc").stdout
    assert "problem" not in site.vcsctl("status", "backup").stdout


def test_reading_commands_answer_with_vcsd_dead(site: Site) -> None:
    declare(site)
    site.start()
    assert site.vcsctl("run", "backup", "--wait").returncode == 1
    assert site.vcsctl("run", "calc", "invoicing").returncode == 0
    site.until(lambda: "held by calc.1" in site.vcsctl("queue").stdout, "invoicing waits for calc")
    site.kill()
    for command in (
        ("status",),
        ("status", "calc"),
        ("queue",),
        ("why", "invoicing"),
        ("why", "hidden"),
        ("history", "backup"),
        ("logs", "backup"),
        ("cat", "calc"),
        ("calendar", "calc", "-n", "2"),
        ("verify",),
    ):
        answer = site.vcsctl(*command)
        assert (answer.returncode, answer.stderr) == (0, ""), command
    assert "held by calc.1" in site.vcsctl("why", "invoicing").stdout
    assert "running since" in site.vcsctl("status", "calc").stdout


def test_a_silent_vcsd_is_a_problem_that_status_names(site: Site) -> None:
    declare(site)
    site.start()
    site.kill()
    silent = "problem: vcsd on node bill2 has been silent for "
    site.until(lambda: silent in site.vcsctl("status").stdout, "its silence is seen")


def test_where_no_vcsd_runs_or_not_yet_status_says_what_that_means(site: Site) -> None:
    site.configure("node: a\n")
    site.unit("calc", "schedule: periodical\nperiod: 60\nenabled: false\nexec: [/bin/true]\n")
    site.shared.mkdir(parents=True)
    site.vcsctl("init")
    never = site.vcsctl("status")
    assert (never.returncode, never.stdout) == (75, "")
    assert "so there is nothing to show; start vcsd, or ask again in a moment" in never.stderr
    site.start()
    assert "problem: " not in site.vcsctl("status").stdout
    site.kill()
    problem = (
        "problem: vcsd on node a does not run, or has only just been started; until it answers it starts nothing new\n"
    )
    assert site.vcsctl("status").stdout.startswith(problem)
    (site.shared / "nodes/a.json").unlink()  # as between the first publishing of units and the first heartbeat
    first, second, *_ = site.vcsctl("status").stdout.splitlines()
    assert first.startswith("problem: node a has no heartbeat; its vcsd is only just starting, or ")
    assert second == (
        "problem: no vcsd of this cell gives a sign of life; one that has only just been started needs a moment: no slot "
        "and no request is started until then; what already runs goes on, and its outcome is shown"
    )


def test_a_program_that_is_missing_is_a_problem_of_what_is_enabled(site: Site) -> None:
    site.configure("node: a\n")
    unit = "schedule: fixed-time\nrun_at: 04:05\nexec: [/nonexistent/program]\n"
    site.unit("off", f"{unit}enabled: false\n")
    site.unit("first", unit)
    site.start()
    told = "problem: first: program missing: /nonexistent/program; install it\n"
    shown = site.vcsctl("status").stdout
    assert (shown.startswith(told), shown.count("problem: ")) == (True, 1)
    assert "problem: " not in site.vcsctl("status", "off*").stdout
    detail = site.vcsctl("status", "first").stdout
    assert (detail.startswith(told), detail.count("program missing")) == (True, 1)
    for number in range(6):
        site.unit(f"more{number}", unit)
    assert site.vcsctl("reload").returncode == 0
    each = ", ".join(f"{name} (/nonexistent/program)" for name in ("first", "more0", "more1", "more2", "more3"))
    many = f"problem: program missing: {each}, and 2 more; install them; `vcsctl status NAME` says on which nodes\n"
    shown = site.vcsctl("status").stdout
    assert (shown.startswith(many), shown.count("problem: ")) == (True, 1)


def test_an_unreadable_override_is_named(site: Site) -> None:
    declare(site)
    site.start()
    path = site.shared / "overrides/calc.json"
    path.write_text('{"version": 1, "fields"')
    shown = site.vcsctl("status", "calc").stdout
    assert f"problem: {path}: cannot be used: is not complete JSON; it is left out" in shown
