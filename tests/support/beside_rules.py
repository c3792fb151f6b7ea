"""Where a drive is deliberately not a plain directory: one small table.

Each rule has the number of its promise in docs/SEMANTICS.md. It says which errno a call
is answered with when it applies; what a plain directory would say counts as well then,
because several things may be wrong at once. What closing a file says (W14, W15) is in
``beside_facts``, what becomes of copies (W11) and of files that nobody closed (W28) in
``beside_world``. Every other difference is a defect.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass

from tests.support.beside_facts import Facts
from tests.support.drive_model import DONE, Errnos


@dataclass(frozen=True)
class Call:
    """A call that is about to be made: what it is about, and where it leads."""

    name: str
    path: str
    new: str
    is_creating: bool = False


@dataclass(frozen=True)
class Rule:
    """A promise's number, and the errno of a call that it is about."""

    promise: str
    why: str
    errno: int
    applies: Callable[[Facts, Call], bool]


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _is_directory(facts: Facts, path: str) -> bool:
    return (facts.plain.top / path).is_dir()


def _is_file(facts: Facts, path: str) -> bool:
    return (facts.plain.top / path).is_file()


def _makes_name(_: Facts, call: Call) -> bool:
    return call.name != "open" or call.is_creating


def _reserved(facts: Facts, call: Call) -> bool:
    return _makes_name(facts, call) and _name(call.new).startswith("@")


def _no_media_name(facts: Facts, call: Call) -> bool:
    if facts.mode.non_media == "keep-local" or call.name == "mkdir":
        return False
    if not call.new.endswith(".txt") or not _makes_name(facts, call):
        return False
    if call.name == "open":
        return True
    return _is_file(facts, call.path) and not facts.at(call.path).is_media


def _nested(facts: Facts, call: Call) -> bool:
    makes_directory = call.name == "mkdir" or (
        call.name == "rename" and _is_directory(facts, call.path)
    )
    return makes_directory and "/" in call.new


def _others(facts: Facts, call: Call) -> list[str]:
    """Return the directories that hold a file that is about to get a name.

    Without the one it leaves; none when it stays in its directory.
    """
    if call.name not in {"link", "rename"} or not _is_file(facts, call.path):
        return []
    inode = facts.plain.shown(call.path).inode
    paths = facts.paths_of(inode)
    if call.name == "rename":
        if _parent(call.new) == _parent(call.path):
            return []
        paths.remove(call.path)
    return [_parent(path) for path in paths]


def _already_there(facts: Facts, call: Call) -> bool:
    return _parent(call.new) in _others(facts, call)


def _root_and_album(facts: Facts, call: Call) -> bool:
    others = _others(facts, call)
    return bool(others) and "" in (_parent(call.new), *others)


#: All differences between the errnos of a drive and of a plain directory.
RULES = (
    Rule("W13", "a name that the drive keeps for itself", errno.EPERM, _reserved),
    Rule("W13", "a name that no media file has", errno.EOPNOTSUPP, _no_media_name),
    Rule("W20, W22", "albums are flat", errno.EPERM, _nested),
    Rule("W21", "an album has an image once", errno.EEXIST, _already_there),
    Rule("W21", "no name in an album and in the root", errno.EXDEV, _root_and_album),
)


def refusals(facts: Facts, call: Call) -> Errnos:
    """Return the errnos of the rules that apply to a call, none when none does.

    None does to a rename to another name of the same file: it changes nothing.
    """
    look = facts.plain.look()
    source, target = look.get(call.path), look.get(call.new)
    if call.name == "rename" and source and target and source.inode == target.inode:
        return DONE
    return frozenset(rule.errno for rule in RULES if rule.applies(facts, call))
