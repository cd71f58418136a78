"""What each key of a unit file means, in one sentence or two: shown by editors and in docs/unit-file.md. Data only.

Apart from the unit, since nobody but who explains the keys should pay for the texts. A key within a key has a dotted
name.
"""

from __future__ import annotations

from typing import Any

TEXTS: dict[str, str] = {
    "schedule": "The kind of the service: kept up, run every so many minutes, or run at times of day.",
    "title": "What the service is called, in one line.",
    "description": "What the service does; shown by `vcsctl status NAME`.",
    "provider": "Who brings the program: vcsctl itself, a package of the distribution, or the site.",
    "enabled": "Whether it runs by its schedule. An operator changes it with `vcsctl enable` and `vcsctl disable`.",
    "nodes": "Where it may run: names of nodes, or `label:NAME` for all nodes with that label. Default: every node.",
    "run_on": "`any`: on one of its nodes at a time. `each`: on every one of them.",
    "groups": "Run groups: two services that share one never run at the same time, on any node.",
    "exec": "The program and its arguments, as a list, or as one text that is split into words as a shell would. "
    "No shell runs it; the program is an absolute path, or a name that is looked up in PATH.",
    "timeout": "The longest that a run, or a daemon's process, may take; it is stopped then. Default: no limit.",
    "stop_timeout": "How long a process may take to end after the stop signal; then it is killed.",
    "stop_signal": "The signal that asks the process to end.",
    "on_storage_loss": "What becomes of a run whose locks can no longer be proved. "
    "Default: `stop` with groups or `run_on: any`, else `continue`.",
    "user": "The user that the process runs as. Default: the user of vcsd.",
    "group": "The group that the process runs as. Default: the user's own.",
    "working_directory": "The directory that the process begins in.",
    "umask": "The bits that are taken from the modes of new files, in octal digits.",
    "environment": "Variables for the process. Names that begin with VCS_ are set by vcsctl itself.",
    "environment_files": "Files of NAME=VALUE lines with more variables; `-` before a path: it may be missing.",
    "nice": "The priority of the process: -20 is the highest, 19 the lowest.",
    "limits": "Resource limits of the process, each one number, or SOFT:HARD, or unlimited.",
    "period": "Every so many minutes, counted from midnight. Longer than an hour: write schedule: fixed-time.",
    "align": "By how many minutes the period is shifted: period 5 and align 2 run at XX:02, XX:07, XX:12 ...; "
    "less than the period.",
    "run_at": "The times of day, as HH:MM in 24 hours.",
    "days": "On these days alone: weekdays, days of the month, or the month's last; several mean any of them. "
    "Default: every day.",
    "timezone": "The time zone of the schedule, by its IANA name. Default: the zone of the cell.",
    "start_within": "How late a run may still start, waiting included. Default: until the next slot for a periodical "
    "service, else 6h.",
    "retries": "Whether a run that failed is tried again.",
    "retries.attempts": "How many further attempts.",
    "retries.delay": "How long to wait before the first; it doubles from attempt to attempt.",
    "retries.max_delay": "The longest wait between two attempts.",
    "on_lost": "What becomes of a run whose node died: `rerun` starts it again.",
    "success_exit_codes": "The exit codes that mean success.",
    "restart": "When the process is started again after it ended.",
    "restart_delay": "The wait before the first restart; it doubles up to restart_max_delay, and begins anew after a "
    "process that ran for 30 s.",
    "restart_max_delay": "The longest wait before a restart.",
    "start_limit": "So many starts within that time, and the daemon has failed.",
    "start_timeout": "A process that is not ready by then is stopped, which counts as a failure.",
    "ready": "When the daemon is up: `notify` (the process says READY=1), or a map with one of tcp, http, exec, after. "
    "Default: at once.",
    "ready.tcp": "It is up when this address accepts a connection.",
    "ready.http": "It is up when this http:// URL answers with a code from 200 to 399.",
    "ready.exec": "It is up when this program ends with 0.",
    "ready.after": "It is up when the process has run so long.",
    "health": "How the daemon is asked whether it is well: one of tcp, http, exec; it is restarted when it is not.",
    "health.tcp": "It is well when this address accepts a connection.",
    "health.http": "It is well when this http:// URL answers with a code from 200 to 399.",
    "health.exec": "It is well when this program ends with 0.",
    "health.period": "How often it is asked.",
    "health.timeout": "How long an answer may take.",
    "health.threshold": "So many bad answers in a row restart it.",
    "watchdog": "The process must say WATCHDOG=1 at least so often, or it is restarted.",
    "reload": "How the daemon reads its own configuration anew: one of signal, exec. Default: it cannot.",
    "reload.signal": "The signal that the main process is sent.",
    "reload.exec": "The program that tells it.",
    "log_size": "The log is rotated at this size.",
    "log_keep": "So many older parts of the log are kept.",
}
KINDS: dict[str, str] = {
    "daemon": "Kept up all the time.",
    "periodical": "Run every so many minutes: period, align.",
    "fixed-time": "Run at times of day: run_at, days.",
}
EXAMPLES: dict[str, list[Any]] = {
    "nodes": [["bill1", "label:internet"]],
    "groups": [["billing"]],
    "exec": [["/usr/libexec/vcs/calculator", "--full"]],
    "timeout": ["2h"],
    "user": ["nobody"],
    "group": ["nogroup"],
    "working_directory": ["/var/lib/calculator"],
    "umask": ["027"],
    "environment_files": [["-/etc/default/calculator"]],
    "nice": [10],
    "period": [5],
    "run_at": [["04:05", "16:05"]],
    "days": [["mon", "tue", "wed", "thu", "fri"], [1, "last"]],
    "timezone": ["Europe/Berlin", "UTC"],
    "start_within": ["3h"],
    "ready": ["notify"],
    "ready.tcp": ["127.0.0.1:1812"],
    "ready.http": ["http://127.0.0.1:8080/health"],
    "ready.exec": [["/usr/libexec/vcs/probe"]],
    "ready.after": ["2s"],
    "health.tcp": ["127.0.0.1:1812"],
    "health.http": ["http://127.0.0.1:8080/health"],
    "health.exec": [["/usr/libexec/vcs/probe"]],
    "watchdog": ["30s"],
    "reload.signal": ["HUP"],
    "reload.exec": [["/usr/libexec/vcs/reload"]],
}
