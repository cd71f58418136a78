"""Every command that only tells something: how it is called for a job that has run, and whether it needs the share.

One list, so that what is asked of all of them is asked of a new one too.
"""

from __future__ import annotations

JOB, DAEMON = "job", "keeps"
RUN = f"{JOB}.1"

# How it is called; each looks at the shared directory.
OF_THE_SHARE: tuple[tuple[str, ...], ...] = (
    ("status",),
    ("status", JOB),
    ("status", DAEMON),
    ("status", "--output", "json"),
    ("queue",),
    ("history", JOB),
    ("logs", JOB, "--run", f"{JOB}.99"),  # of a run that is not on this node
    ("why", JOB),
    ("why", JOB, "--at", "00:00"),
    ("why", DAEMON),
    ("calendar", JOB),
    ("nodes",),
    ("timeline",),
    ("simulate",),
    ("advise",),
)
# They lie on this machine, and are told whatever the share does.
OF_THIS_MACHINE: tuple[tuple[str, ...], ...] = (("logs", JOB, "--run", RUN), ("cat", JOB), ("verify",))
# What changes something, waits for it, or tells of storage itself and has limits of its own.
ACTING = frozenset(
    (
        "run",
        "stop",
        "restart",
        "reset-failed",
        "lock",
        "cancel",
        "enable",
        "disable",
        "set",
        "revert",
        "drain",
        "resume",
        "init",
        "reload",
        "doctor",
    )
)
# What says nothing of services.
ASIDE = frozenset(("completion", "help", "schema"))
