"""``imgurfs completion``: the script that teaches a shell our words.

The words come from the commands themselves (click) and from ``completing``; the scripts
are ours, because click's do not quote names with spaces, and end every word.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, Final

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
)

#: Asks the program for completions, as click reads it from the environment.
VARIABLE: Final = "_IMGURFS_COMPLETE"
_PROGRAM: Final = "imgurfs"
#: What a shell would take for something else than a part of a word.
_SPECIAL: Final = re.compile(r"[^\w@%+=:,./~-]")

_BASH = r"""
%(complete_func)s() {
    local IFS=$'\n' type value line
    COMPREPLY=()
    while IFS= read -r line; do
        type=${line%%%%,*} value=${line#*,}
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            open) compopt -o nospace; COMPREPLY+=("$value") ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done < <(COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD \
        %(complete_var)s=bash_complete "$1" 2>/dev/null)
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""

_ZSH = r"""
#compdef %(prog_name)s

%(complete_func)s() {
    local -a words_plain words_open response
    local type value
    response=("${(@f)$(COMP_WORDS="${(F)words}" COMP_CWORD=$((CURRENT-1)) \
        %(complete_var)s=zsh_complete %(prog_name)s 2>/dev/null)}")
    for line in $response; do
        type=${line%%%%,*} value=${line#*,}
        case $type in
            dir) _path_files -/ ;;
            file) _path_files -f ;;
            open) words_open+=("$value") ;;
            plain) words_plain+=("$value") ;;
        esac
    done
    (( $#words_open )) && compadd -U -V unsorted -S '' -a words_open
    (( $#words_plain )) && compadd -U -V unsorted -a words_plain
    return 0
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    compdef %(complete_func)s %(prog_name)s
fi
"""

_FISH = r"""
function %(complete_func)s
    set -l response (env %(complete_var)s=fish_complete \
        COMP_WORDS=(commandline -cp | string collect) \
        COMP_CWORD=(commandline -t | string collect) %(prog_name)s 2>/dev/null)
    for line in $response
        set -l parts (string split -m 1 , -- $line)
        switch $parts[1]
            case dir
                __fish_complete_directories (commandline -ct)
            case file
                __fish_complete_path (commandline -ct)
            case plain open
                echo $parts[2]
        end
    end
end

complete --no-files --command %(prog_name)s --arguments '(%(complete_func)s)'
"""


def _line(item: CompletionItem[Any], value: str) -> str:
    """Return one answer to the script: what kind of word it is, and the word."""
    is_open = item.type == "plain" and value.endswith("/")
    return f"{'open' if is_open else item.type},{value}"


class _Bash(BashComplete):
    source_template: ClassVar[str] = _BASH

    def format_completion(self, item: CompletionItem[Any]) -> str:
        # bash puts the word into the line as it is; the other shells quote it.
        return _line(item, _SPECIAL.sub(r"\\\g<0>", item.value))


class _Zsh(ZshComplete):
    source_template: ClassVar[str] = _ZSH

    def format_completion(self, item: CompletionItem[Any]) -> str:
        return _line(item, item.value)


class _Fish(FishComplete):
    source_template: ClassVar[str] = _FISH

    def format_completion(self, item: CompletionItem[Any]) -> str:
        return _line(item, item.value)


SHELLS: Final[dict[str, type[ShellComplete]]] = {
    "bash": _Bash,
    "zsh": _Zsh,
    "fish": _Fish,
}


def answer(command: click.Command, instruction: str, obj: object) -> int:
    """Print what fits the word that is being typed (``bash_complete``); exit code."""
    shell, _, what = instruction.partition("_")
    kind = SHELLS.get(shell)
    if kind is None or what != "complete":
        return 1
    print(kind(command, {"obj": obj}, _PROGRAM, VARIABLE).complete())
    return 0


@click.command(short_help="Print the completion script for a shell.")
@click.argument("shell", type=click.Choice(list(SHELLS)))
def completion(shell: str) -> None:
    """Print the script that lets a shell complete commands, options and names.

    Names are accounts, watched folders, albums and images of the drive, and the ids of
    jobs: from this machine's database, so completing needs no network.

    \b
      imgurfs completion bash > ~/.local/share/bash-completion/completions/imgurfs
      imgurfs completion zsh > ~/.zfunc/_imgurfs    (any directory of $fpath)
      imgurfs completion fish > ~/.config/fish/completions/imgurfs.fish
    """  # noqa: D301 - \b keeps click from rewrapping
    kind = SHELLS[shell]
    values = {
        "complete_func": "_imgurfs_completion",
        "complete_var": VARIABLE,
        "prog_name": _PROGRAM,
    }
    print((kind.source_template % values).strip())
