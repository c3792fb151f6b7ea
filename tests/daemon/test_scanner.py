"""Reading a watched folder, over real directories."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from imgurfs_daemon.filters import Filters
from imgurfs_daemon.scanner import portion, portions, scan
from imgurfs_daemon.snapshot import Problem

ALL = Filters()


def put(root: Path, *paths: str) -> None:
    """Write small files, with the directories they need."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(path.encode())


class Following:
    """A follower that knows the directories it was told of."""

    def __init__(self, *known: bytes) -> None:
        self.known = set(known)
        self.told: list[bytes] = []

    def is_known(self, directory: bytes) -> bool:
        """Whether it was told of the directory."""
        return directory in self.known

    def before_reading(self, directory: bytes) -> None:
        """Take note."""
        self.told.append(directory)
        self.known.add(directory)


def test_files_and_directories_as_they_are(tmp_path: Path) -> None:
    """Every regular file is found with the numbers that stat has for it."""
    put(tmp_path, "b.jpg", "a.jpg", "x/c.jpg", "x/y/d.jpg")
    (tmp_path / "empty").mkdir()
    seen = scan(bytes(tmp_path), ALL)
    assert seen.is_complete
    assert seen.scope is None
    assert list(seen.files) == [b"a.jpg", b"b.jpg", b"x/c.jpg", b"x/y/d.jpg"]
    assert len(seen.files) == 4
    assert set(seen.directories) == {b"", b"empty", b"x", b"x/y"}
    for path, file in seen.files.items():
        status = (tmp_path / os.fsdecode(path)).stat()
        assert file.path == path
        assert file.device == status.st_dev
        assert file.identity == (status.st_size, status.st_mtime_ns, status.st_ino)
    for path, directory in seen.directories.items():
        status = (tmp_path / os.fsdecode(path)).stat()
        assert (directory.device, directory.inode) == (status.st_dev, status.st_ino)
    assert seen.root is not None
    assert seen.root.inode == tmp_path.stat().st_ino
    for missing in (b"c.jpg", b"x", b"x/a", b"none/a.jpg", b""):
        assert missing not in seen.files


def test_a_missing_folder_is_a_problem(tmp_path: Path) -> None:
    """No folder, a file in its place or a link to one: never an empty folder."""
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for name, reason in (
        ("none", "No such file or directory"),
        ("file", "not a directory"),
        ("link", "not a directory"),
    ):
        seen = scan(bytes(tmp_path / name), ALL)
        assert seen.root is None
        assert not seen.is_complete
        assert seen.problems == (Problem(b"", reason),)


def test_what_is_not_uploaded_is_still_there(tmp_path: Path) -> None:
    """Links, sockets, unfinished and excluded names are present, and are not files."""
    put(tmp_path, "a.jpg", ".hidden/b.jpg", "c.part", "raw/d.cr2", "raw/e.jpg", "no/f")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "a.jpg")
    (tmp_path / "dangling.jpg").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "fifo.jpg")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket.jpg"))
        seen = scan(bytes(tmp_path), Filters(exclude=("*.cr2", "/no/")))
    assert set(seen.files) == {b"a.jpg", b"raw/e.jpg"}
    assert set(seen.directories) == {b"", b"raw"}
    assert seen.others == {
        b".hidden",
        b"c.part",
        b"raw/d.cr2",
        b"no",
        b"link.jpg",
        b"dangling.jpg",
        b"loop",
        b"fifo.jpg",
        b"socket.jpg",
    }
    assert seen.is_complete


def test_hard_links_are_files_with_one_inode(tmp_path: Path) -> None:
    """Both names of a file are found, with the same numbers."""
    put(tmp_path, "a.jpg")
    (tmp_path / "x").mkdir()
    os.link(tmp_path / "a.jpg", tmp_path / "x" / "b.jpg")
    seen = scan(bytes(tmp_path), ALL)
    assert seen.files[b"a.jpg"].identity == seen.files[b"x/b.jpg"].identity


def test_strange_names(tmp_path: Path) -> None:
    """Names that are not UTF-8, hold newlines or have 255 bytes are names."""
    names = [b"\xff\xfe.jpg", b"a\nb.jpg", b"n" * 251 + b".jpg", "übung.jpg".encode()]
    for name in names:
        Path(os.fsdecode(bytes(tmp_path) + b"/" + name)).write_bytes(b"x")
    seen = scan(bytes(tmp_path), ALL)
    assert set(seen.files) == set(names)
    assert seen.is_complete


def test_a_path_longer_than_the_kernel_takes(tmp_path: Path) -> None:
    """A file 20 long directories down, beyond what one path can name, is found."""
    fd = os.open(tmp_path, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=fd)
        inner = os.open("d" * 250, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(os.open("a.jpg", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)
    seen = scan(bytes(tmp_path), ALL)
    assert list(seen.files) == [b"/".join([b"d" * 250] * 20 + [b"a.jpg"])]
    assert seen.is_complete


def test_too_deep_is_a_problem(tmp_path: Path) -> None:
    """Beyond 100 levels nothing is read, which is said; the rest is there."""
    deep = tmp_path.joinpath(*["d"] * 101)
    deep.mkdir(parents=True)
    (deep / "a.jpg").write_bytes(b"x")
    put(tmp_path, "b.jpg")
    seen = scan(bytes(tmp_path), ALL)
    assert list(seen.files) == [b"b.jpg"]
    assert [problem.reason for problem in seen.problems] == ["nested too deeply"]


def test_scope_reads_those_directories_only(tmp_path: Path) -> None:
    """A scope says something about the files directly in its directories."""
    put(tmp_path, "a.jpg", "x/b.jpg", "x/y/c.jpg", "z/d.jpg")
    seen = scan(bytes(tmp_path), ALL, frozenset({b"x", b""}))
    assert set(seen.files) == {b"a.jpg", b"x/b.jpg"}
    assert seen.scope == frozenset({b"x", b""})
    assert set(seen.directories) == {b"x", b""}
    assert seen.is_complete


def test_what_is_gone_from_a_scope_is_simply_gone(tmp_path: Path) -> None:
    """A directory that went, or became a file or a link, is no problem."""
    put(tmp_path, "real/a.jpg", "file/b.jpg", "link/c.jpg", "outer/inner/d.jpg")
    put(tmp_path.parent / "elsewhere", "inner/e.jpg", "c.jpg")
    scope = frozenset({b"", b"gone", b"file", b"link", b"outer/inner"})
    for name in ("file", "link", "outer"):
        (tmp_path / name).rename(tmp_path.parent / f"was-{name}")
    put(tmp_path, "file")
    (tmp_path / "link").symlink_to(tmp_path.parent / "elsewhere")
    (tmp_path / "outer").symlink_to(tmp_path.parent / "elsewhere")
    seen = scan(bytes(tmp_path), ALL, scope)
    assert seen.problems == ()
    assert seen.scope == scope
    assert set(seen.directories) == {b""}
    # Not through the links that took the places of directories.
    assert set(seen.files) == {b"file"}


def test_nothing_is_said_about_what_a_full_scan_leaves_out(tmp_path: Path) -> None:
    """A hidden or excluded directory in the scope is dropped from it."""
    put(tmp_path, ".git/a.jpg", "no/b.jpg", "no/deep/c.jpg", "yes/d.jpg")
    scope = frozenset({b".git", b"no", b"no/deep", b"yes"})
    seen = scan(bytes(tmp_path), Filters(exclude=("no/",)), scope)
    assert seen.scope == frozenset({b"yes"})
    assert set(seen.files) == {b"yes/d.jpg"}


def test_a_follower_leads_into_what_it_does_not_know(tmp_path: Path) -> None:
    """Unknown directories in the scope are read with all below, after it was told."""
    put(tmp_path, "old/a.jpg", "new/b.jpg", "new/deep/c.jpg", "old/deep/d.jpg")
    follower = Following(b"", b"old", b"old/deep")
    seen = scan(bytes(tmp_path), ALL, frozenset({b""}), follower=follower)
    assert seen.scope == frozenset({b"", b"new", b"new/deep"})
    assert set(seen.files) == {b"new/b.jpg", b"new/deep/c.jpg"}
    assert follower.told == [b"", b"new", b"new/deep"]


def test_unreadable_directories_do_not_block_others(tmp_path: Path) -> None:
    """Without permission a directory is a problem, and everything else is found."""
    put(tmp_path, "a.jpg", "locked/b.jpg", "open/c.jpg")
    tmp_path.chmod(0o755)
    (tmp_path / "locked").chmod(0)
    code = (
        "import os; from imgurfs_daemon.filters import Filters;"
        "from imgurfs_daemon.scanner import scan;"
        "os.geteuid() or (os.setgroups([]), os.setgid(65534), os.setuid(65534));"
        "seen = scan(b'.', Filters());"
        "print(list(seen.files), *((p.path, p.reason) for p in seen.problems))"
    )
    # Started inside, because the way there may be closed to others.
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True
    ).stdout
    assert said == b"[b'a.jpg', b'open/c.jpg'] (b'locked', 'Permission denied')\n"


def test_a_directory_that_cannot_be_listed_is_a_problem() -> None:
    """A file system that fails in the middle: said, and nothing follows from it."""
    with subprocess.Popen(["true"]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        # What a dead process had open can be entered, but not listed.
        seen = scan(b"/proc/%d" % child.pid, ALL, frozenset({b"net", b"attr"}))
    assert seen.root is not None
    assert seen.problems == (Problem(b"net", "Invalid argument"),)
    assert set(seen.directories) == {b"attr"}


def test_numbers_that_no_database_can_hold(tmp_path: Path) -> None:
    """Time stamps before 1970 and far ahead are taken as they are."""
    put(tmp_path, "old.jpg", "new.jpg")
    os.utime(tmp_path / "old.jpg", ns=(-(10**18), -(10**18)))
    os.utime(tmp_path / "new.jpg", ns=(9 * 10**18, 9 * 10**18))
    seen = scan(bytes(tmp_path), ALL)
    for path, name in ((b"old.jpg", "old.jpg"), (b"new.jpg", "new.jpg")):
        assert seen.files[path].mtime_ns == (tmp_path / name).stat().st_mtime_ns


def test_portions_are_everything(tmp_path: Path) -> None:
    """A scan cut into scopes says the same as scans of those scopes, and no more."""
    put(tmp_path, *(f"{n % 7}/{n % 3}/{n}.jpg" for n in range(100)), "a.jpg", ".b")
    put(tmp_path, "1/.hidden/c.jpg", "2/d.part")
    whole = scan(bytes(tmp_path), ALL)
    found: list[bytes] = []
    directories: set[bytes] = set()
    for scope in portions(whole, files_max=12):
        part = portion(whole, scope)
        assert part == scan(bytes(tmp_path), ALL, scope)
        assert len(part.files) == len(list(part.files)) <= 12
        found += part.files
        directories |= part.directories.keys()
    assert sorted(found) == sorted(whole.files)
    assert directories == set(whole.directories)
