"""What a writable drive has to do with names, and what the account has to become.

The second half of the model in ``drive_model``.
"""

from __future__ import annotations

import errno

from tests.support.drive_model import (
    DONE,
    Contents,
    Errnos,
    File,
    Folder,
    name_errnos,
)


class Model(Contents):
    """The drive: names, albums, and the account behind it."""

    # --- Names -----------------------------------------------------------------

    def mkdir(self, path: str) -> Errnos:
        """Make an album."""
        place = self._place(path)
        if isinstance(place, int):
            return frozenset([place])
        wrong = {errno.EPERM} if "/" in path else set()
        if self.find(path) is not None:
            # The kernel looks before it asks.
            return frozenset([errno.EEXIST])
        if wrong or path.startswith("@"):
            return frozenset([errno.EPERM])
        self.root[path] = Folder()
        return DONE

    def rmdir(self, path: str) -> Errnos:
        """Remove an album."""
        place = self._place(path)
        if isinstance(place, int):
            return frozenset([place])
        thing = self.find(path)
        if thing is None:
            return frozenset([errno.ENOENT])
        if isinstance(thing, File):
            return frozenset([errno.ENOTDIR])
        if thing.files:
            return frozenset([errno.ENOTEMPTY])
        del self.root[path]
        return DONE

    def unlink(self, path: str) -> Errnos:
        """Take a name away."""
        file = self._file(path)
        if isinstance(file, frozenset):
            return file
        self._drop(path)
        return DONE

    def _drop(self, path: str) -> list[bytes]:
        """Take a name away; return contents of images that nothing shows any more."""
        place = self._place(path)
        assert not isinstance(place, int)
        file = place[0].pop(place[1])
        file.is_moved = True
        if self.links(file):
            return []
        unseen = [one for one in (file.remote, file.replaces) if one is not None]
        file.remote = file.replaces = None
        return unseen

    def link(self, path: str, new: str) -> Errnos:
        """Give a file one more name."""
        thing = self.find(path)
        if thing is None:
            place = self._place(path)
            return frozenset([place if isinstance(place, int) else errno.ENOENT])
        place = self._place(new)
        if isinstance(place, int):
            return frozenset([place])
        entries, name = place
        wrong = {errno.EEXIST} if self.find(new) is not None else set()
        if isinstance(thing, Folder):
            return frozenset(wrong or {errno.EPERM})
        wrong |= self._renaming_errnos(thing, name)
        if any(one is thing for one in entries.values()):
            wrong.add(errno.EEXIST)
        if "/" not in new or "/" not in path:
            wrong.add(errno.EXDEV)
        if not wrong:
            entries[name] = thing
            thing.is_moved = True
            self._judge_again(thing)
        return frozenset(wrong)

    def rename(self, old: str, new: str, *, no_replace: bool) -> Errnos:
        """Move or rename."""
        places = [self._place(old), self._place(new)]
        if wrong := {one for one in places if isinstance(one, int)}:
            return frozenset(wrong)
        thing, target = self.find(old), self.find(new)
        if thing is None:
            return frozenset([errno.ENOENT])
        if no_replace and target is not None:
            return frozenset([errno.EEXIST])
        if new.startswith(old + "/"):
            return frozenset([errno.EINVAL])
        if old.startswith(new + "/"):
            return frozenset([errno.ENOTEMPTY])
        if thing is target:
            return DONE
        if isinstance(thing, Folder):
            return self._rename_folder(thing, old, new, target)
        return self._rename_file(thing, old, new, target)

    def _rename_folder(
        self, folder: Folder, old: str, new: str, target: File | Folder | None
    ) -> Errnos:
        wrong = set()
        if isinstance(target, File):
            wrong.add(errno.ENOTDIR)
        elif isinstance(target, Folder) and target.files:
            wrong.add(errno.ENOTEMPTY)
        if "/" in new or new.startswith("@"):
            wrong.add(errno.EPERM)
        if not wrong:
            del self.root[old]
            self.root[new] = folder
        return frozenset(wrong)

    def _rename_file(
        self, file: File, old: str, new: str, target: File | Folder | None
    ) -> Errnos:
        place, old_place = self._place(new), self._place(old)
        assert not isinstance(place, int)
        assert not isinstance(old_place, int)
        entries, name = place
        wrong = self._renaming_errnos(file, name)
        if isinstance(target, Folder):
            wrong.add(errno.EISDIR)
        if entries is not old_place[0]:
            if any(one is file for one in entries.values()):
                wrong.add(errno.EEXIST)
            if "/" not in new and self.links(file) > 1:
                wrong.add(errno.EXDEV)
        if wrong:
            return frozenset(wrong)
        unseen = [] if target is None else self._drop(new)
        del old_place[0][old_place[1]]
        entries[name] = file
        file.is_moved = True
        self._judge_again(file)
        is_coming = file.state in ("writing", "waiting", "refused")
        if unseen and is_coming and file.replaces is None:
            file.replaces = unseen[0]
        return DONE

    def _renaming_errnos(self, file: File, name: str) -> set[int]:
        is_media = file.remote is not None or file.state in ("waiting", "uploaded")
        wrong = name_errnos(name)
        return wrong - {errno.EOPNOTSUPP} if is_media else wrong

    def _judge_again(self, file: File) -> None:
        if not file.is_dirty and file.state in ("scratch", "waiting", "refused"):
            file.state = self._judged(file)

    # --- The world -------------------------------------------------------------

    def drain(self) -> None:
        """Let everything be sent."""
        for name, thing in self.root.items():
            if isinstance(thing, Folder):
                thing.title = name
        for file in self._files():
            file.is_moved = False
            if file.state == "waiting":
                file.state, file.remote, file.replaces = "uploaded", file.content, None

    def settled_files(self) -> list[str]:
        """Return the paths of closed files that drive and account agree about."""
        opened = [one.file for one in self.opened.values()]
        return sorted(
            path
            for path, thing in self._walk()
            if isinstance(thing, File) and thing.is_settled and thing not in opened
        )

    def settled_folders(self) -> list[str]:
        """Return the albums that the account knows under their names."""
        return sorted(
            name
            for name, thing in self.root.items()
            if isinstance(thing, Folder) and thing.title == name
        )

    def arrive(self, folder: str, title: str, content: bytes) -> None:
        """Let somebody else put an image into an album."""
        thing = self.root[folder]
        assert isinstance(thing, Folder)
        thing.files[f"{title}.gif"] = File(content, False, DONE, "uploaded", content)

    def vanish(self, path: str) -> bytes:
        """Let somebody else delete an image; return its content."""
        gone = self.find(path)
        assert isinstance(gone, File)
        for one in [one for one, thing in self._walk() if thing is gone]:
            self._drop(one)
        return gone.content

    def retitle(self, path: str, title: str) -> bytes:
        """Let somebody else give an image a title; return its content."""
        file = self.find(path)
        assert isinstance(file, File)
        for one in [one for one, thing in self._walk() if thing is file]:
            place = self._place(one)
            assert not isinstance(place, int)
            del place[0][place[1]]
            place[0][f"{title}.gif"] = file
        return file.content

    def die(self) -> None:
        """Let the process be killed, and another one start."""
        self.opened.clear()
        for file in self._files():
            if file.is_dirty:
                file.is_dirty, file.state, file.refusal = False, "refused", DONE
                # Times go with the content that was not finished.
                file.mtime_ns = None
