"""completion: the script for a shell, and the answers to what that script asks at each Tab.

An answer must come at once and never disturb the prompt: no command is loaded for it, the shared directory is asked
by a child that is given up on, and a fault means that nothing is offered.
"""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable, Iterable
from typing import NoReturn

import click
from click.shell_completion import BashComplete, CompletionItem, FishComplete, ShellComplete, ZshComplete

from vcsctl.cli.child import begin, write_all
from vcsctl.cli.shapes import SHAPES, Parameter
from vcsctl.errors import OK

VARIABLE = "_VCSCTL_COMPLETE"  # which shell asks; click's own name for it
_PATIENCE_S = 1.0
_SETTABLE = ("period", "align", "run_at", "days", "schedule", "timezone", "timeout")

_BASH = """\
%(complete_func)s() {
    local IFS=$'\\n' one answer
    answer=$(env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD %(complete_var)s=bash_complete "$1" 2>/dev/null)
    COMPREPLY=()
    for one in $answer; do
        case $one in
            dir,*) compopt -o dirnames ;;
            file,*) compopt -o default ;;
            *=) COMPREPLY+=("${one#*,}"); compopt -o nospace ;;
            *) COMPREPLY+=("${one#*,}") ;;
        esac
    done
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""

_ZSH = """\
#compdef %(prog_name)s

%(complete_func)s() {
    local type key descr
    local -a answer told plain open
    answer=("${(@f)$(env COMP_WORDS="${(pj:\\n:)words}" COMP_CWORD=$((CURRENT-1)) \\
        %(complete_var)s=zsh_complete "$words[1]" 2>/dev/null)}")
    for type key descr in $answer; do
        case $type:$descr:$key in
            dir:*) _path_files -/ ;;
            file:*) _path_files -f ;;
            plain:_:*=) open+=("$key") ;;
            plain:_:*) plain+=("$key") ;;
            plain:*) told+=("$key:$descr") ;;
        esac
    done
    (( $#told )) && _describe -V unsorted told -U
    (( $#plain )) && compadd -U -V unsorted -a plain
    (( $#open )) && compadd -U -S '' -V unsorted -a open
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    compdef %(complete_func)s %(prog_name)s
fi
"""


_FISH = """\
function %(complete_func)s
    set -l answer (env %(complete_var)s=fish_complete COMP_WORDS=(commandline -cp) COMP_CWORD=(commandline -t) \\
        %(prog_name)s 2>/dev/null)
    for one in $answer
        set -l found (string split -m 1 "," -- $one)
        switch $found[1]
            case dir
                __fish_complete_directories $found[2]
            case file
                __fish_complete_path $found[2]
            case plain
                echo $found[2]
        end
    end
end

complete --no-files --command %(prog_name)s --arguments "(%(complete_func)s)"
"""


class _Bash(BashComplete):
    """Click's own starts a process per name that is offered, and another bash to ask for its version."""

    source_template = _BASH

    @staticmethod
    def _check_version() -> None:
        return

    def get_completion_args(self) -> tuple[list[str], str]:
        """Bash makes three words of KEY=VALUE; of an option they are two, of anything else one."""
        args, incomplete = super().get_completion_args()
        whole: list[str] = []
        for word in (*args, incomplete):
            joins = len(whole) > 1 and whole[-1] == "="
            if joins and whole[-2].startswith("-"):
                whole[-1] = word
            elif joins:
                whole[-2:] = [f"{whole[-2]}={word}"]
            else:
                whole.append(word)
        if len(whole) > 1 and whole[-1] == "=":
            whole[-1:] = [""] if whole[-2].startswith("-") else [f"{whole.pop(-2)}="]
        return whole[:-1], whole[-1]


class _Zsh(ZshComplete):
    """Click's own puts a space behind KEY= too."""

    source_template = _ZSH


class _Fish(FishComplete):
    """Click's own offers of KEY,KEY the first alone."""

    source_template = _FISH


_SHELLS: dict[str, type[ShellComplete]] = {"bash": _Bash, "zsh": _Zsh, "fish": _Fish}


@click.command()
@click.argument("shell", type=click.Choice(list(_SHELLS)))
def completion(shell: str) -> None:
    """Print the script that lets a shell complete commands, options and names.

    Examples:
    source <(vcsctl completion bash)
    vcsctl completion zsh > /usr/share/zsh/site-functions/_vcsctl
    vcsctl completion fish > ~/.config/fish/completions/vcsctl.fish
    """
    click.echo(script(shell), nl=False)


def script(shell: str) -> str:
    return _SHELLS[shell](click.Command("vcsctl"), {}, "vcsctl", VARIABLE).source()


def answer(cli: click.Group) -> NoReturn:
    """What fits where the cursor stands, in the words of the shell that asks."""
    shell, _, _ = os.environ[VARIABLE].partition("_")
    try:
        asked = _SHELLS[shell](cli, {}, "vcsctl", VARIABLE)
        args, incomplete = asked.get_completion_args()
        asked.ctx_args["obj"] = args
        # Behind -- stands another command, with files of its own.
        found = [CompletionItem(incomplete, "file")] if "--" in args else asked.get_completions(args, incomplete)
        text = "\n".join(asked.format_completion(item) for item in found)
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except Exception:  # noqa: BLE001 - whatever it is, it has no place in a prompt
        os._exit(1)
    os._exit(0)  # nobody should wait for the interpreter to tidy up


def light(name: str) -> click.Command:
    """A command with its parameters and nothing behind it."""
    text, parameters = SHAPES[name]
    below = {part.rpartition(" ")[2]: light(part) for part in SHAPES if part.rpartition(" ")[0] == name}
    params = [_light(one) for one in parameters]
    if below:
        return click.Group(name, below, params=params, help=text, invoke_without_command=True)
    return click.Command(name, params=params, help=text)


def _light(one: Parameter) -> click.Parameter:
    names, kind, count, repeated, text = one
    value = click.Choice(kind) if isinstance(kind, tuple) else None
    complete = _completing(kind) if isinstance(kind, str) and kind else None
    if not names[0].startswith("-"):
        return click.Argument(names, nargs=count, type=value, required=False, shell_complete=complete)
    if not count:
        return click.Option(names, is_flag=True, multiple=repeated, help=text)
    return click.Option(names, nargs=count, type=value, multiple=repeated, help=text, shell_complete=complete)


_Completing = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _completing(kind: str) -> _Completing:
    def complete(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        if "," in kind:
            *named, begun = incomplete.split(",")
            fitting_words = [word for word in kind.split(",") if word.startswith(begun) and word not in named]
            return [CompletionItem(",".join((*named, word))) for word in fitting_words]
        if kind in ("file", "folder"):
            return [CompletionItem(incomplete, "dir" if kind == "folder" else "file")]
        given = ctx.params.get(parameter.name or "")
        already = set(given) if isinstance(given, tuple) else set()
        fitting = sorted if kind not in ("run", "key", "command") else list
        found = fitting(name for name in _offered(kind, ctx, incomplete) if name.startswith(incomplete))
        return [CompletionItem(name) for name in found if name not in already]

    return complete


def _offered(kind: str, ctx: click.Context, incomplete: str) -> Iterable[str]:
    if kind == "command":
        return [name for name in SHAPES if " " not in name]
    if kind == "key":
        return [] if "=" in incomplete else [f"{key}=" for key in _SETTABLE]
    root = ctx.find_root().params.get("root")
    # Not from the context: where an option still lacks its value click has read nothing of the command's line.
    words: list[str] = ctx.obj[ctx.obj.index(ctx.info_name) + 1 :] if ctx.info_name in ctx.obj else []
    return _in_time(lambda: _names(kind, root, words, incomplete))


def _names(kind: str, root: str | None, words: list[str], incomplete: str) -> Iterable[str]:
    from vcsctl.places import SHARED_DIR, places, read_kept, read_source
    from vcsctl.store import names
    from vcsctl.store.paths import Paths

    where = places(root)
    source = read_source(where)
    kept = read_kept(where, source) if source is not None else {"shared_dir": SHARED_DIR}
    if kept is None:
        from vcsctl.config import load_config

        shared = load_config(where).shared_dir
    else:
        shared = where.moved(kept["shared_dir"])
    paths = Paths(shared)
    match kind:
        case "service":
            return names.services(paths, incomplete)
        case "duration":
            return [] if "=" in incomplete else [f"{name}=" for name in names.services(paths, incomplete)]
        case "group":
            return names.groups(paths)
        case "node":
            return names.nodes(paths)
        case _:
            return [run for word in words for run in names.runs(paths, word)]


def _in_time(find: Callable[[], Iterable[str]]) -> list[str]:
    """What a child finds within a second: a hung mount hangs whoever touches it, and must not hang the shell."""

    def work(pipe: int) -> int:
        write_all(pipe, "\n".join(find()).encode())
        return OK

    child = begin(work, dies_after_s=2 * _PATIENCE_S)  # a shell may have killed us before we give it up
    give_up, found = time.monotonic() + _PATIENCE_S, b""
    while select.select([child.pipe], [], [], max(0.0, give_up - time.monotonic()))[0]:
        part = child.take()
        if not part:
            return found.decode().split("\n") if found else []
        found += part
    child.give_up()
    return []


COMMANDS: dict[str, click.Command] = {"completion": completion}
