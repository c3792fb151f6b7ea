"""A drive beside a plain directory: every call is made on both, and compared.

What is not alike must be in ``beside_rules``: errnos, what calls return, and after each
call all names, sizes, links, times and contents. What follows from a call for the
account is ``beside_facts``'. Nothing is chosen here: that is ``beside_machine``'s.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.simulation.pushed_ground import Ground
from tests.support.beside_facts import Fact, Facts, Opened
from tests.support.beside_rules import Call, refusals
from tests.support.beside_side import Side, errno_of
from tests.support.drive_model import DONE, Errnos

STATE = "user.imgurfs.state"


@dataclass
class Pair:
    """The two directories, and what was done so far."""

    ground: Ground
    drive: Side
    plain: Side
    facts: Facts
    script: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    #: False from a call on until everything was compared.
    is_alike: bool = True
    _last: int = 0

    def note(self, what: str, *about: object) -> None:
        """Write down what is done next."""
        self.is_alike = False
        self.counts[what] += 1
        self.script.append(f"{what}({', '.join(short(one) for one in about)})")

    # --- Calls ---------------------------------------------------------------

    def call(self, name: str, *arguments: object, rules: Errnos = DONE) -> int:
        """Make a call on both sides; return the errno, 0 for none.

        ``rules`` are the errnos that a rule wants: then the plain side is not changed.
        """
        self.note(name, *arguments)
        if rules:
            natural = self.plain.would(name, *arguments)
            wanted = rules | ({natural} if natural else set())
        else:
            wanted = frozenset({errno_of(self.plain, name, *arguments)})
        found = errno_of(self.drive, name, *arguments)
        self.script[-1] += f" -> {errno.errorcode.get(found, 'done')}"
        names = [errno.errorcode.get(one, "done") for one in sorted(wanted)]
        assert found in wanted, f"{self.script[-1]}, not {'/'.join(names)}"
        return found

    def open(self, path: str, flags: int) -> int:
        """Open a file; return the number, 0 when it was refused."""
        there = (self.plain.top / path).exists()
        is_creating = bool(flags & os.O_CREAT) and not there
        call = Call("open", path, path, is_creating=is_creating)
        self._last += 1
        number = self._last
        if self.call("open", number, path, flags, rules=refusals(self.facts, call)):
            return 0
        inode = self.plain.shown(path).inode
        self.facts.opened[number] = Opened(inode, flags & os.O_ACCMODE)
        if is_creating:
            self.facts.files[inode] = Fact()
        elif flags & os.O_TRUNC:
            self.facts.changed(inode, b"", is_same_size=False)
        return number

    def bytes_of(self, inode: int) -> bytes:
        """Return the content of a file that has a name or is open."""
        paths = self.facts.paths_of(inode)
        if paths:
            return self.plain.content(paths[0])
        number = next(n for n, one in self.facts.opened.items() if one.inode == inode)
        return Path(f"/proc/self/fd/{self.plain.fds[number]}").read_bytes()

    def write(self, number: int, data: bytes, offset: int | None) -> None:
        """Write to an open file; offset None leaves it to the file's."""
        if not self.call("write", number, data, offset):
            inode = self.facts.opened[number].inode
            self.facts.changed(inode, self.bytes_of(inode))

    def cut(self, number: int, size_bytes: int) -> None:
        """Set the size of an open file."""
        inode = self.facts.opened[number].inode
        before = len(self.bytes_of(inode))
        if not self.call("cut", number, size_bytes):
            is_same = before == size_bytes
            self.facts.changed(inode, self.bytes_of(inode), is_same_size=is_same)

    def truncate(self, path: str, size_bytes: int) -> None:
        """Set the size of a file by its path."""
        before = self.plain.look().get(path)
        if self.call("truncate", path, size_bytes) or before is None:
            return
        content, inode = self.plain.content(path), before.inode
        is_same = before.size_bytes == size_bytes
        self.facts.changed(inode, content, is_same_size=is_same)
        if not self.facts.is_open(inode):
            self.facts.commit(inode, content)
            self.facts.files[inode].told = DONE
        elif self.state_of(path) != "writing":
            # Those who read only may be told at their close, or not: it was committed.
            self.facts.commit(inode, content)
            fact = self.facts.files[inode]
            fact.told = fact.told | {0} if fact.told else DONE

    def read(self, number: int, size_bytes: int, offset: int) -> None:
        """Read a part of an open file on both sides."""
        self.note("read", number, size_bytes, offset)
        wanted = self.plain.read(number, size_bytes, offset)
        found = self.drive.read(number, size_bytes, offset)
        assert found == wanted, f"{self.script[-1]} gave {found!r}, not {wanted!r}"

    def fsync(self, number: int) -> None:
        """Have an open file made durable."""
        self.call("fsync", number)
        inode = self.facts.opened[number].inode
        self.facts.commit(inode, self.bytes_of(inode))

    def close(self, number: int) -> None:
        """Close a file; a program is told once what is wrong with it."""
        self.note("close", number)
        inode = self.facts.opened[number].inode
        self.facts.commit(inode, self.bytes_of(inode))
        del self.facts.opened[number]
        fact = self.facts.files[inode]
        wanted, fact.told = fact.told or frozenset({0}), DONE
        self.plain.close(number)
        found = errno_of(self.drive, "close", number)
        told = f"close said {errno.errorcode.get(found, 'done')}, not {set(wanted)}"
        assert found in wanted, told

    def close_all(self) -> None:
        """Close everything."""
        for number in list(self.facts.opened):
            self.close(number)

    def write_all(self, path: str, flags: int, content: bytes) -> None:
        """Open, write, close."""
        number = self.open(path, flags)
        if number:
            self.write(number, content, None)
            self.close(number)

    def utime(self, path: str, mtime_ns: int | None) -> None:
        """Set a file's time, or leave it (UTIME_OMIT)."""
        if not self.call("utime", path, mtime_ns) and mtime_ns is not None:
            self.facts.at(path).mtime_ns = mtime_ns

    # --- Names ---------------------------------------------------------------

    def mkdir(self, path: str) -> None:
        """Make a directory."""
        rules = refusals(self.facts, Call("mkdir", path, path))
        self.call("mkdir", path, rules=rules)

    def rmdir(self, path: str) -> None:
        """Remove a directory."""
        self.call("rmdir", path)

    def unlink(self, path: str) -> None:
        """Take a name away."""
        before = self.plain.look().get(path)
        if not self.call("unlink", path):
            assert before is not None
            self.facts.unnamed(before.inode)

    def link(self, path: str, new: str) -> None:
        """Give a file one more name."""
        rules = refusals(self.facts, Call("link", path, new))
        if not self.call("link", path, new, rules=rules):
            self.facts.named(self.plain.shown(new).inode)

    def rename(self, old: str, new: str, *, no_replace: bool = False) -> None:
        """Move or rename."""
        look = self.plain.look()
        source, target = look.get(old), look.get(new)
        rules = refusals(self.facts, Call("rename", old, new))
        if self.call("rename", old, new, int(no_replace), rules=rules):
            return
        assert source is not None
        if source.is_directory:
            if old != new:
                self.facts.album_named(new)
            return
        if target is not None and target.inode == source.inode:
            return
        unseen = [] if target is None else self.facts.unnamed(target.inode)
        self.facts.named(source.inode)
        self.facts.succeed(source.inode, unseen)

    # --- Comparing -----------------------------------------------------------

    def compare(self) -> None:
        """Compare everything there is to be seen, and what is open."""
        plain, drive = self.plain.look(), self.drive.look()
        assert list(drive) == list(plain), (
            f"the drive has {list(drive)}, not {list(plain)}"
        )
        for path, wanted in plain.items():
            found = drive[path]
            told = f"{path} is {found}, not {wanted}"
            assert found.is_directory == wanted.is_directory, told
            assert found.size_bytes == wanted.size_bytes, told
            assert found.links == wanted.links, told
            if wanted.is_directory:
                continue
            mtime_ns = self.facts.files[wanted.inode].mtime_ns
            assert mtime_ns in (None, found.mtime_ns), f"{told}: not {mtime_ns}"
            self._compare_content(path, wanted.inode)
        for number in self.facts.opened:
            wanted_open, found_open = self.plain.fstat(number), self.drive.fstat(number)
            told = f"open file {number} is {found_open}, not {wanted_open}"
            assert found_open == wanted_open, told
        self.is_alike = True

    def _compare_content(self, path: str, inode: int) -> None:
        """Compare bytes, unless looking would tell the drive that a file is closed."""
        fact, wanted = self.facts.files[inode], self.plain.content(path)
        if fact.is_unread:
            return
        if not (fact.is_dirty or fact.told):
            found = self.drive.content(path)
        elif readers := self.facts.readers(inode):
            found = self.drive.open_content(readers[0])
        else:
            return
        assert found == wanted, f"{path} has {short(found)}, not {short(wanted)}"

    def compare_account(self) -> None:
        """Compare the account with the plain directory, when everything was sent."""
        state = self.ground.state()
        lingering = {md5(one) for one in self.facts.lingering()}
        held = {it["id"]: it["md5"] for it in state["images"]}
        held = {one: digest for one, digest in held.items() if digest not in lingering}
        placed: set[str] = set()
        found: list[tuple[str, list[str]]] = []
        for album in state["albums"]:
            placed |= set(album["images"])
            inside = [held[one] for one in album["images"] if one in held]
            found.append((album["title"], sorted(inside)))
        rest = sorted(digest for one, digest in held.items() if one not in placed)
        found = [("", rest), *sorted(found)]
        wanted = [
            (title, sorted(it for it in map(md5, them) if it not in lingering))
            for title, them in self.facts.account()
        ]
        assert found == wanted, f"the account has {found}, not {wanted}"

    def compare_states(self) -> None:
        """Compare what the drive says of each file with what was promised (W25)."""
        for path, one in self.plain.look().items():
            if one.is_directory or self.facts.files[one.inode].is_dirty:
                continue
            wanted = self.facts.files[one.inode].state
            assert self.state_of(path) == wanted, f"{path}: {self.state_of(path)}"

    def state_of(self, path: str) -> str:
        """Return what the drive says of a file or album."""
        return os.getxattr(self.drive.top / path, STATE).decode()


def short(value: object) -> str:
    """Return a value as text, cut in the middle when it is long."""
    text = repr(value)
    return text if len(text) < 60 else f"{text[:20]}…{text[-20:]}"


def md5(data: bytes) -> str:
    """Return the digest by which the emulator tells contents."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
