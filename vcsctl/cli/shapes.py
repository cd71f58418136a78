"""What completion knows of every command without loading it. Written by `make completion`; data only."""

# fmt: off
# ruff: noqa: E501
from __future__ import annotations

# declarations, kind of value (or the choices; with commas: of a list), how many (0: a flag), may be repeated, help
Parameter = tuple[tuple[str, ...], "str | tuple[str, ...]", int, bool, str]
# first line of the help, parameters; a subcommand under the names of all that lead to it
SHAPES: dict[str, tuple[str, tuple[Parameter, ...]]] = {
    'status': ('Show all services, or one.', (
        (('names',), 'service', -1, False, ''),
        (('--failed', 'failed'), '', 0, False, 'Those that ended badly or are not well.'),
        (('--queued', 'queued'), '', 0, False, 'Those that wait.'),
        (('--running', 'running'), '', 0, False, 'Those that run.'),
        (('--group', 'group'), 'group', 1, False, 'Those in this run group.'),
        (('--node', 'node'), 'node', 1, False, 'Those that may run on this node; with the above, what is so there.'),
        (('-w', '--watch', 'watch'), '', 0, False, 'Show it again and again; q or Ctrl-C ends it.'),
        (('--interval', 'interval'), '', 1, False, 'How often to look with --watch; default 2s.'),
        (('-o', '--output', 'output'), ('table', 'wide', 'json'), 1, False, 'Form of the answer.'),
    )),
    'queue': ('Show what waits, since when and for what.', (
        (('-o', '--output', 'output'), ('table', 'json'), 1, False, 'Form of the answer.'),
    )),
    'history': ('Show the recorded outcomes of a service.', (
        (('name',), 'service', 1, False, ''),
        (('-n', '--lines', 'lines'), '', 1, False, 'How many rows; default 20, or all.'),
        (('--outcome', 'outcome'), 'ok,failed,timeout,stopped,lost,missed,skipped', 1, False, 'Only: ok, failed, timeout, stopped, lost, missed, skipped.'),
        (('--trigger', 'trigger'), 'schedule,manual,late,retry,daemon,none', 1, False, 'Only: schedule, manual, late, retry, daemon, none.'),
        (('--node', 'node'), 'node', 1, False, 'Only what this node ran or recorded.'),
        (('--since', 'since'), '', 1, False, 'Not before: 14:30, yesterday, `3d ago`, 2026-03-29. With it all rows are shown.'),
        (('--until', 'until'), '', 1, False, 'Not after.'),
        (('--stats', 'stats'), '', 0, False, 'How often each outcome; how long runs took and had waited.'),
        (('-o', '--output', 'output'), ('table', 'json'), 1, False, 'Form of the answer.'),
    )),
    'logs': ('Print the log of a run.', (
        (('name',), 'service', 1, False, ''),
        (('--run', 'run_id'), 'run', 1, False, "A run's id, as `history` shows it; default: the newest."),
        (('-f', '--follow', 'follow'), '', 0, False, 'Go on printing what is added, run after run; of --run to its end.'),
        (('--since', 'since'), '', 1, False, 'All runs that wrote since then: 14:30, yesterday, `3d ago`, 2026-03-29.'),
        (('-n', '--lines', 'lines'), '', 1, False, 'The last lines only; with -f 10 where nothing is said.'),
    )),
    'why': ('Explain what comes next, or became of a slot, and why.', (
        (('name',), 'service', 1, False, ''),
        (('--at', 'at'), '', 1, False, "What became of the slot of that moment, in the service's zone: 14:05, 2026-11-25."),
        (('--node', 'node'), 'node', 1, False, 'Only on this node.'),
        (('-o', '--output', 'output'), ('table', 'json'), 1, False, 'Form of the answer.'),
    )),
    'calendar': ('Show the slots of services or of expressions.', (
        (('what',), 'service', -1, False, ''),
        (('-n', '--count', 'count'), '', 1, False, 'How many slots.'),
        (('--from', 'start'), '', 1, False, 'From this moment on, or with --past before it: 2026-03-29, +2h.'),
        (('-p', '--past', 'past'), '', 0, False, 'The slots before now, or before --from.'),
        (('--timezone', 'zone'), '', 1, False, 'Read expressions and --from, and show times, in this zone.'),
        (('--days', 'days'), 'mon,tue,wed,thu,fri,sat,sun,last', 1, False, 'Of times of day: on these days alone, for example mon,last.'),
        (('-o', '--output', 'output'), ('table', 'json'), 1, False, 'Form of the answer.'),
    )),
    'timeline': ('Show the coming or past hours as a chart.', (
        (('patterns',), 'service', -1, False, ''),
        (('--hours', 'hours'), '', 1, False, 'For how long, at most 744.'),
        (('-p', '--past', 'past'), '', 0, False, 'The hours before now, or before --from.'),
        (('--from', 'start'), '', 1, False, 'From this moment on, or with --past up to it: 2026-03-29, +2h.'),
        (('--group', 'group'), 'group', 1, False, 'Only this run group.'),
        (('--html', 'page'), 'file', 1, False, 'Write the chart as a page that needs no network.'),
        (('-o', '--output', 'output'), ('table', 'json'), 1, False, 'Form of the answer.'),
    )),
    'simulate': ('Foresee the waits of the coming hours.', (
        (('--hours', 'hours'), '', 1, False, 'For how long, at most 744.'),
        (('--from', 'begin'), '', 1, False, 'From this moment on, with nothing running or waiting then.'),
        (('--duration', 'given'), 'duration', 1, True, 'What a run of NAME lasts, for example 90s.'),
        (('--all', 'everything'), '', 0, False, 'As if every service were enabled and its program there.'),
        (('-o', '--output', 'output'), ('table', 'json'), 1, False, 'Form of the answer.'),
    )),
    'advise': ('Propose align values with which services wait less.', (
        (('--hours', 'hours'), '', 1, False, 'For how long, at most 744.'),
        (('--duration', 'given'), 'duration', 1, True, 'What a run of NAME lasts, for example 90s.'),
        (('--all', 'everything'), '', 0, False, 'As if every service were enabled and its program there.'),
        (('-o', '--output', 'output'), ('table', 'json'), 1, False, 'Form of the answer.'),
    )),
    'run': ('Request a run now.', (
        (('names',), 'service', -1, False, ''),
        (('--wait', 'wait'), '', 0, False, 'Wait for the outcome, and end as the job did.'),
        (('--follow', 'follow'), '', 0, False, 'The same, and print what the job prints.'),
        (('--within', 'within'), '', 1, False, 'Do not start later than this after now, for example 10m.'),
        (('--node', 'node'), 'node', 1, False, 'Only on this node.'),
    )),
    'stop': ('Stop the runs of services.', (
        (('names',), 'service', -1, False, ''),
        (('--reason', 'reason'), '', 1, False, 'Why; it is recorded.'),
        (('--node', 'node'), 'node', 1, False, 'Only on this node.'),
    )),
    'restart': ('Restart daemons, node by node.', (
        (('names',), 'service', -1, False, ''),
        (('--node', 'node'), 'node', 1, False, 'Only on this node.'),
        (('--no-wait', 'no_wait'), '', 0, False, 'Ask for all of them at once, and wait for none.'),
        (('--reason', 'reason'), '', 1, False, 'Why; it is recorded.'),
    )),
    'reset-failed': ('Let failed daemons be started again.', (
        (('names',), 'service', -1, False, ''),
        (('--node', 'node'), 'node', 1, False, 'Only on this node.'),
    )),
    'lock': ('Hold run groups while a command runs.', (
        (('groups',), 'group', -1, False, ''),
        (('--wait', 'wait'), '', 1, False, 'Wait at most this long, 0 not at all; default: for ever.'),
    )),
    'cancel': ('Cancel the waiting requests of a service.', (
        (('name',), 'service', 1, False, ''),
        (('--node', 'node'), 'node', 1, False, 'Only on this node.'),
    )),
    'enable': ('Enable services.', (
        (('names',), 'service', -1, False, ''),
        (('--reason', 'reason'), '', 1, False, 'Why; it is recorded.'),
    )),
    'disable': ('Disable services: no slot starts any more.', (
        (('names',), 'service', -1, False, ''),
        (('--now', 'now'), '', 0, False, 'Stop a running run too.'),
        (('--reason', 'reason'), '', 1, False, 'Why; it is recorded.'),
    )),
    'set': ('Change the schedule or timeout of a service by hand.', (
        (('name',), 'service', 1, False, ''),
        (('assignments',), 'key', -1, False, ''),
        (('--reason', 'reason'), '', 1, False, 'Why; it is recorded.'),
    )),
    'revert': ('Take back what was changed by hand.', (
        (('names',), 'service', -1, False, ''),
    )),
    'nodes': ('Show the nodes of the cell; forget one.', (
        (('-o', '--output', 'output'), ('table', 'json'), 1, False, 'Form of the answer.'),
    )),
    'nodes forget': ('Forget a node that is gone for good: its units and its groups count no more.', (
        (('node',), 'node', 1, False, ''),
        (('--yes', 'yes'), '', 0, False, 'Do not ask.'),
    )),
    'drain': ('Let a node start nothing more.', (
        (('node',), 'node', 1, False, ''),
        (('--wait', 'wait'), '', 0, False, 'Wait until nothing runs there any more.'),
        (('--reason', 'reason'), '', 1, False, 'Why; it is recorded.'),
    )),
    'resume': ('Let a drained node start runs again.', (
        (('node',), 'node', 1, False, ''),
    )),
    'init': ('Make the cell on the shared directory.', (
    )),
    'reload': ('Read the unit files again, or let a daemon read its configuration.', (
        (('names',), 'service', -1, False, ''),
        (('--node', 'node'), 'node', 1, False, 'Only on this node.'),
    )),
    'cat': ('Show the files that make up a unit.', (
        (('name',), 'service', 1, False, ''),
    )),
    'verify': ('Check unit files.', (
        (('paths',), 'file', -1, False, ''),
        (('--as', 'name'), '', 1, False, 'Judge one file, whatever it is called, as NAME or NAME.yaml.d/FILE.yaml.'),
        (('--with-dir', 'folder'), 'folder', 1, False, 'Judge one file among those of DIR, where it is to be put.'),
        (('--strict', 'strict'), '', 0, False, 'Take warnings for errors.'),
        (('--nodes', 'listed'), '', 1, False, 'All nodes there are: a,b,label:x or a file of them.'),
        (('--timezone', 'zone'), '', 1, False, "The cell's zone, for units that name none."),
        (('--duration', 'given'), 'duration', 1, True, 'What a run of NAME lasts, for example 90s.'),
        (('-o', '--output', 'output'), ('table', 'json', 'sarif', 'github'), 1, False, 'Form of the answer.'),
    )),
    'schema': ('Print the JSON Schema of unit files, for editors.', (
        (('--drop-in', 'drop_in'), '', 0, False, 'Of drop-ins: any of the keys, and null resets each.'),
    )),
    'doctor': ('Prove that the shared directory can be trusted.', (
        (('--serve', 'serve'), '', 0, False, 'Wait for a --peer on another node, and prove the share between the two.'),
        (('--peer', 'peer'), '', 0, False, 'Prove the share together with the node that runs --serve.'),
        (('--within', 'within'), '', 1, False, 'Give up when no other side is there by then; a peer: 30s.'),
        (('--output', 'output'), ('table', 'json'), 1, False, 'Form of the answer.'),
    )),
    'completion': ('Print the script that lets a shell complete.', (
        (('shell',), ('bash', 'zsh', 'fish'), 1, False, ''),
    )),
    'help': ('Show the help of a command.', (
        (('command',), 'command', -1, False, ''),
    )),
}
