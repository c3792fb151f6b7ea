"""What somebody does with a folder of pictures, at random, and what must come of it.

:class:`Life` changes a folder as people do: new pictures, copies, moves, edits,
deletions, new and renamed directories. :func:`judge` compares the account with the
folder, by the bytes: every picture there once, in the albums its files are in, and
nothing else. Both are used by campaigns that kill the daemon meanwhile.
"""

from __future__ import annotations

import hashlib
import io
import os
import random
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.simulation.stage import Stage, pause

#: Beyond this the folder does not grow: pictures are deleted instead.
_FILES_MAX = 120
#: How often the account is compared with the folder, in the stage's time.
_LOOK_INTERVAL_S = 2.0
#: So long, of the machine's time, is always waited for that.
_PATIENCE_S = 90.0
_DIRECTORIES = ("rome", "oslo", "2024", "2024/may", "2024/june", "a b", "größe")


def picture(text: str) -> bytes:
    """Return a real picture; two texts never give the same bytes."""
    info = PngInfo()
    info.add_text("which", text)
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (len(text) % 256, 90, 30)).save(
        buffer, "PNG", pnginfo=info
    )
    return buffer.getvalue()


@dataclass
class Life:
    """Changes a stage's folder. ``done`` counts what was done."""

    stage: Stage
    rng: random.Random
    done: Counter[str] = field(default_factory=Counter)
    _number: int = 0

    def act(self) -> str:
        """Do one thing; return what."""
        files = self.files()
        weights = {
            "new": 8 if len(files) < _FILES_MAX else 0,
            "burst": 1 if len(files) < _FILES_MAX else 0,
            "copy": 2,
            "move": 3,
            "rename": 1,
            "edit": 3,
            "delete": 3 if len(files) < _FILES_MAX // 2 else 8,
            "rename_directory": 1,
        }
        what = self.rng.choices([*weights], [*weights.values()])[0]
        if not files:
            what = "new"
        getattr(self, f"_{what}")(files)
        self.done[what] += 1
        return what

    def files(self) -> list[Path]:
        """Return the pictures of the folder."""
        return sorted(it for it in self.stage.folder.rglob("*") if it.is_file())

    def write(self, path: Path) -> None:
        """Put a picture nobody has seen before there."""
        self._number += 1
        self.put(path, picture(f"{self.stage.directory.name} {self._number}"))

    def put(self, path: Path, content: bytes) -> None:
        """Put bytes there as careful programs do, modified now by the stage's clock."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.tmp")
        temporary.write_bytes(content)
        now_ns = int(self.stage.clock.now() * 1e9)
        os.utime(temporary, ns=(now_ns, now_ns))
        temporary.rename(path)

    def _place(self, suffix: str = ".png") -> Path:
        self._number += 1
        directory = self.rng.choice(("", *_DIRECTORIES))
        return self.stage.folder / directory / f"p{self._number}{suffix}"

    def _new(self, _files: list[Path]) -> None:
        self.write(self._place())

    def _burst(self, _files: list[Path]) -> None:
        for _ in range(self.rng.randint(3, 8)):
            self.write(self._place())

    def _copy(self, files: list[Path]) -> None:
        self.put(self._place(), self.rng.choice(files).read_bytes())

    def _move(self, files: list[Path]) -> None:
        target = self._place()
        target.parent.mkdir(parents=True, exist_ok=True)
        self.rng.choice(files).rename(target)

    def _rename(self, files: list[Path]) -> None:
        file = self.rng.choice(files)
        file.rename(file.with_name(self._place().name))

    def _edit(self, files: list[Path]) -> None:
        self.write(self.rng.choice(files))

    def _delete(self, files: list[Path]) -> None:
        for file in self.rng.sample(files, min(len(files), self.rng.randint(1, 3))):
            file.unlink()

    def _rename_directory(self, files: list[Path]) -> None:
        known = sorted({it.parent for it in files} - {self.stage.folder})
        if not known:
            return
        old = self.rng.choice(known)
        self._number += 1
        old.rename(old.with_name(f"d{self._number}"))

    def clear(self) -> None:
        """Delete everything."""
        shutil.rmtree(self.stage.folder)


@dataclass
class Verdict:
    """What is wrong with the account; all empty: nothing is."""

    lost: list[str] = field(default_factory=list)
    duplicate_images: list[str] = field(default_factory=list)
    duplicate_albums: list[str] = field(default_factory=list)
    wrong_album: list[str] = field(default_factory=list)
    left_over: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return any(vars(self).values())

    def __str__(self) -> str:
        return "; ".join(
            f"{len(v)} {k}: {', '.join(v[:5])}" for k, v in vars(self).items() if v
        )


def contents(folder: Path) -> dict[str, dict[str, str]]:
    """Return for every directory ("" is the folder) which file has which MD5."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for file in sorted(folder.rglob("*")):
        if file.is_file() and not file.name.startswith("."):
            digest = hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
            directory = str(file.parent.relative_to(folder))
            found["" if directory == "." else directory][file.name] = digest
    return dict(found)


def duplicates(state: dict[str, Any], given: set[str]) -> list[str]:
    """Return what two images of the account are: allowed at no time."""
    counts = Counter(it["md5"] for it in state["images"] if it["id"] not in given)
    return [f"{md5} x{count}" for md5, count in counts.items() if count > 1]


def judge(stage: Stage, *, state: dict[str, Any] | None = None) -> Verdict:
    """Compare the account with the folder. Only true when nothing is on its way."""
    state = state or stage.admin("state")
    wanted = contents(stage.folder)
    verdict = Verdict(duplicate_images=duplicates(state, stage.given))
    ours = {it["id"]: it for it in state["images"] if it["id"] not in stage.given}
    there = {it["md5"]: it["name"] for it in ours.values()}
    names = {md5: path for d in wanted.values() for path, md5 in d.items()}
    verdict.lost = [path for md5, path in names.items() if md5 not in there]
    verdict.left_over = [name for md5, name in there.items() if md5 not in names]
    albums: dict[str, list[set[str]]] = defaultdict(list)
    placed: set[str] = set()
    for album in state["albums"]:
        if stage.given.issuperset(album["images"]) and album["images"]:
            continue
        inside = [ours[it]["md5"] for it in album["images"] if it in ours]
        placed |= set(inside)
        albums[album["title"]].append(set(inside))
        if len(album["images"]) != len(set(inside)):
            verdict.wrong_album.append(f"{album['title']}: {album['images']}")
    for title, found in albums.items():
        if len(found) > 1:
            verdict.duplicate_albums.append(f"{title} x{len(found)}")
        if title not in wanted and found != [set()]:
            verdict.wrong_album.append(f"{title}: there is no such directory")
    for title, files in wanted.items():
        if title and [set(files.values())] != albums.get(title):
            verdict.wrong_album.append(_difference(title, files, albums.get(title, [])))
    outside = set(wanted.get("", {}).values())
    elsewhere = {md5 for d, files in wanted.items() if d for md5 in files.values()}
    verdict.wrong_album += [
        f"{names[md5]}: in an album, its file is in none"
        for md5 in (outside - elsewhere) & placed
    ]
    return verdict


def wait_agreed(
    stage: Stage,
    *,
    hold_s: float,
    is_hopeless: Callable[[], bool] = lambda: False,
    wait_s: float = 600.0,
) -> dict[str, int]:
    """Wait until account and folder agree and nothing is to be done for ``hold_s``.

    Both times are the stage's. Return the jobs that had not ended by then, by state;
    ``is_hopeless`` is asked again and again and ends the waiting as well.
    """
    rate = stage.clock.rate
    # A busy machine is slow, however fast the stage's clock runs.
    deadline_s = time.monotonic() + max(wait_s / rate, _PATIENCE_S)
    agreed_since_s: float | None = None
    while True:
        states = stage.states()
        unfinished = {k: n for k, n in states.items() if k not in ("done", "cancelled")}
        now_s = time.monotonic()
        if not states or unfinished or judge(stage):
            agreed_since_s = None
        else:
            agreed_since_s = now_s if agreed_since_s is None else agreed_since_s
            if (now_s - agreed_since_s) * rate >= hold_s:
                return {}
        if now_s > deadline_s or is_hopeless():
            return unfinished
        pause(max(0.02, _LOOK_INTERVAL_S / rate))


def _difference(title: str, files: dict[str, str], found: list[set[str]]) -> str:
    inside = set().union(*found)
    missing = [path for path, md5 in files.items() if md5 not in inside]
    return f"{title}: lacks {missing}, has {len(inside - set(files.values()))} more"
