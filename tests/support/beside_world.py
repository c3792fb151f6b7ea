"""What happens around a drive beside a plain directory: time, the web, and death.

Time is pushed, others change the account, the mount ends and another one begins. The
plain directory follows by the rules that are named here with their promises.
"""

from __future__ import annotations

import base64
import contextlib
import os
from collections.abc import Callable
from typing import Any

from tests.support.beside_pair import Pair, md5, short

#: What a spool holds besides what was written.
_SPOOL_FILES = {"boot", "lock", "owner"}


class World(Pair):
    """A drive beside a plain directory, with an account that others use as well."""

    # --- Time ----------------------------------------------------------------

    def push(self, seconds: float) -> None:
        """Let time pass; some of what waits is sent, and the rest is not."""
        self.note("push", seconds)
        self.ground.order("push", seconds=seconds)
        self._adopt_links()
        self._learn()

    def drain(self) -> None:
        """Let everything be sent, and compare the account."""
        self.note("drain")
        told = self.ground.order("drain")
        assert not told["left"], f"it is never sent: {told['left']}"
        assert not told["dead"], f"it was given up: {told['dead']}"
        self._adopt_links()
        self.facts.sent()
        self.compare_states()
        self.compare_account()

    def refresh(self) -> None:
        """Let the account be listed, whatever waits (W31)."""
        self.note("refresh")
        self._listed()

    def _listed(self) -> None:
        self.ground.order("refresh")
        self._adopt_links()
        self._learn()

    def _learn(self) -> None:
        """Learn what has been sent of what waited."""
        there = self.drive.look()
        for path, one in self.plain.look().items():
            if path not in there or self.state_of(path) != "uploaded":
                continue
            if not one.is_directory:
                if self.facts.files[one.inode].state == "waiting":
                    self.facts.uploaded(one.inode, self.plain.content(path))
            elif one.inode not in self.facts.titles:
                self.facts.titles[one.inode] = path
                self.facts.renamed.add(one.inode)

    def _adopt_links(self) -> None:
        """W11: copies in different albums become one file when they are sent.

        Whoever has the copy open keeps its bytes, and cannot write any more.
        """
        drive, plain = self.drive.look(), self.plain.look()
        self._adopt_revived({one.inode for one in drive.values()})
        self._adopt_recognised({path: one.inode for path, one in drive.items()})
        shown: dict[int, str] = {}
        for path, one in plain.items():
            if one.is_directory or path not in drive:
                continue
            first = shown.setdefault(drive[path].inode, path)
            if plain[first].inode == one.inode:
                continue
            same = self.plain.content(first) == self.plain.content(path)
            told = f"W11: {first} and {path} are one file"
            assert same, told
            assert "/" in first, told
            assert "/" in path, told
            self._become_link(first, path)

    def _adopt_revived(self, shown: set[int]) -> None:
        """W11: a copy of a removed image becomes that image, for all who have it open.

        What they would write goes to both, as with any link, so they are closed here.
        """
        numbers = {one.inode: number for number, one in self.facts.opened.items()}
        for inode, number in numbers.items():
            found = os.fstat(self.drive.fds[number]).st_ino
            if found in shown and not self.facts.paths_of(inode):
                assert not self.facts.files[inode].is_dirty, f"W19: {number}"
                self._forget_open(inode)

    def _adopt_recognised(self, shown: dict[str, int]) -> None:
        """W11: the name of a copy leads to the image it is one of, when that is sent.

        Whoever has the copy open has a file without a name from then on.
        """
        numbers = {one.inode: number for number, one in self.facts.opened.items()}
        for inode, number in numbers.items():
            found = os.fstat(self.drive.fds[number])
            names = [shown[p] for p in self.facts.paths_of(inode) if p in shown]
            if names and found.st_ino not in names:
                told = f"W11: {number} is not {self.facts.paths_of(inode)}"
                assert self.facts.files[inode].state == "waiting", told
                assert not found.st_nlink, told
                self._forget_open(inode)

    def _become_link(self, first: str, path: str) -> None:
        """Let the plain side follow; the file that was there first stays."""
        old = [self.plain.shown(one).inode for one in (first, path)]
        if old[0] == old[1]:
            return
        if self.facts.files[old[0]].remote is None:
            first, path = path, first
            old.reverse()
        self._forget_open(old[1])
        for name in self.facts.paths_of(old[1]):
            self.plain.unlink(name)
            self.plain.link(first, name)
        # What image it was before is deleted: nothing shows it any more.
        self.facts.unnamed(old[1])
        fact = self.facts.files[old[0]]
        fact.mtime_ns, fact.is_changed = None, True

    def _forget_open(self, inode: int) -> None:
        for number, one in list(self.facts.opened.items()):
            if one.inode == inode:
                del self.facts.opened[number]
                self.plain.close(number)
                with contextlib.suppress(OSError):
                    self.drive.close(number)

    def wipe(self) -> None:
        """Remove everything, and see that nothing of it is left anywhere."""
        look = self.plain.look()
        for path in [p for p, one in look.items() if not one.is_directory]:
            self.unlink(path)
        for path in [p for p, one in look.items() if one.is_directory]:
            self.rmdir(path)
        self.drain()
        self.compare()
        state = self.ground.state()
        assert not state["images"], state["images"]
        assert not state["albums"], state["albums"]
        left = {path.name for path in self.ground.spool.iterdir()} - _SPOOL_FILES
        assert not left, f"the spool still has {left}"

    # --- Others --------------------------------------------------------------

    def arrive(self, folder: str, title: str, content: bytes) -> None:
        """Let somebody else put an image into an album."""
        self.note("arrive", folder, title)
        fields = {
            "image": base64.b64encode(content).decode(),
            "type": "base64",
            "title": title,
            "album": self._album(folder)["id"],
        }
        self.ground.ask("POST", "/3/upload", fields)
        self.facts.came(f"{folder}/{title}.gif", content)
        self._listed()

    def vanish(self, path: str) -> None:
        """Let somebody else delete an image."""
        self.note("vanish", path)
        self.ground.ask("DELETE", f"/3/image/{self._image(path)}")
        inode = self.plain.shown(path).inode
        for one in self.facts.paths_of(inode):
            self.plain.unlink(one)
        self.facts.unnamed(inode)
        self._listed()

    def retitle(self, path: str, title: str) -> None:
        """Let somebody else give an image a title: it is called so in every album."""
        self.note("retitle", path, title)
        self.ground.ask("POST", f"/3/image/{self._image(path)}", {"title": title})
        for one in self.facts.paths_of(self.plain.shown(path).inode):
            parent = one.rpartition("/")[0]
            self.plain.rename(one, f"{parent}/{title}.gif".lstrip("/"), 0)
        self._listed()

    def rename_album(self, folder: str, title: str) -> None:
        """Let somebody else give an album another title."""
        self.note("rename_album", folder, title)
        album = self._album(folder)["id"]
        self.ground.ask("POST", f"/3/album/{album}", {"title": title})
        self.plain.rename(folder, title, 0)
        self.facts.titles[self.plain.shown(title).inode] = title
        self._listed()

    def leave_album(self, path: str) -> None:
        """Let somebody else take an image out of an album."""
        self.note("leave_album", path)
        album = self._album(path.partition("/")[0])["id"]
        fields = {"ids": self._image(path)}
        self.ground.ask("POST", f"/3/album/{album}/remove_images", fields)
        self._to_root([path])
        self._listed()
        self._adopt_names()

    def delete_album(self, folder: str) -> None:
        """Let somebody else delete an album: nothing that is only here is lost.

        What waits in it, or could, comes into the root under its name; images that are
        in no other album as well, under the name that Imgur has for them.
        """
        self.note("delete_album", folder)
        album = self._album(folder)["id"]
        self.ground.ask("DELETE", f"/3/album/{album}")
        self._to_root([f"{folder}/{name}" for name in self.plain.names(folder)])
        self.plain.rmdir(folder)
        self._listed()
        self._adopt_names()

    def _to_root(self, paths: list[str]) -> None:
        """Take names from an album; a last one comes into the root, if it is free."""
        for path in paths:
            inode = self.plain.shown(path).inode
            if len(self.facts.paths_of(inode)) > 1:
                self.plain.unlink(path)
            else:
                stem, dot, extension = path.rpartition("/")[2].partition(".")
                name, number = f"{stem}{dot}{extension}", 2
                while (self.plain.top / name).exists():
                    name = f"{stem} ({number}){dot}{extension}"
                    number += 1
                self.plain.rename(path, name, 0)

    def _adopt_names(self) -> None:
        """Let images of the plain root be called what the drive calls them there (R1).

        Which name Imgur's title makes of an image is not this test's business; that it
        is there, once, with its bytes and as the file it was, is.
        """
        drive, plain = self.drive.look(), self.plain.look()
        lost = [p for p in plain if p not in drive and self._is_image(p)]
        for name in [n for n in drive if n not in plain and "/" not in n]:
            content = self.drive.content(name)
            for path in lost:
                if self.plain.content(path) == content:
                    self.plain.rename(path, name, 0)
                    lost.remove(path)
                    break

    def _is_image(self, path: str) -> bool:
        one = self.plain.look()[path]
        if "/" in path or one.is_directory:
            return False
        # What waited may have become an image before the album was gone.
        return self.facts.files[one.inode].is_media

    def _album(self, title: str) -> dict[str, Any]:
        albums = self.ground.state()["albums"]
        (found,) = (it for it in albums if it["title"] == title)
        return dict(found)

    def _image(self, path: str) -> str:
        """Return the id of an image by what the drive says it is; check its bytes."""
        told = os.getxattr(self.drive.top / path, "user.imgur.id").decode()
        (found,) = (it for it in self.ground.state()["images"] if it["id"] == told)
        remote = self.facts.at(path).remote
        assert remote is not None
        assert found["md5"] == md5(remote), f"{path} is image {told}: another content"
        return told

    # --- Death ---------------------------------------------------------------

    def remount(self, *, is_killed: bool) -> None:
        """End the mount, or kill it, and start another one (R2, W2, W28).

        A file that was not closed has one of the contents it had since it was last made
        durable, and is refused; everything else is as it was.
        """
        self.note("kill" if is_killed else "remount")
        for number in list(self.facts.opened):
            self._forget_after_death(number)
        self.ground.unmount(is_killed=is_killed)
        for number in list(self.drive.fds):
            # Nobody is there to be told.
            with contextlib.suppress(OSError):
                self.drive.close(number)
        self.ground.mount()
        self._each_unfinished(self._adopt_unfinished)

    def _forget_after_death(self, number: int) -> None:
        del self.facts.opened[number]
        self.plain.close(number)

    def _each_unfinished(self, then: Callable[[str, int], None]) -> None:
        done = set()
        for path, one in self.plain.look().items():
            if one.is_directory or one.inode in done:
                continue
            done.add(one.inode)
            fact = self.facts.files[one.inode]
            if fact.is_dirty:
                then(path, one.inode)
            fact.told = frozenset()

    def _adopt_unfinished(self, path: str, inode: int) -> None:
        fact, content = self.facts.files[inode], self.drive.content(path)
        told = f"W28: {path} has {short(content)} after the end of its mount"
        assert content in fact.versions, told
        state = self.state_of(path)
        is_as_it_was = state == "uploaded" and content == fact.remote
        assert state == "refused" or is_as_it_was, f"W28: {path} is {state}"
        (self.plain.top / path).write_bytes(content)
        fact.is_dirty, fact.state, fact.versions = False, state, [content]
        fact.mtime_ns = None
