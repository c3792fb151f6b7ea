"""Names on the drive, in process and through the kernel: link, rename, mkdir."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import trio.testing

from tests.support.drives import Drive, fails_with, opened, read, write
from tests.support.inside import in_process
from tests.support.pictures import small_picture

HARBOUR = small_picture("harbour")
GULLS = small_picture("gulls")
RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2


async def test_a_link_is_the_same_file(clock: object, drive: Drive) -> None:
    """W4: a link is the same inode under a name more; removing one leaves the other."""
    await drive.link("Cats/Paw.gif", "Twins/Paw too.gif")
    first, second = (
        await drive.stat("Cats/Paw.gif"),
        await drive.stat("Twins/Paw too.gif"),
    )
    assert first.inode == second.inode
    assert first.links == second.links == 2
    await drive.unlink("Cats/Paw.gif")
    assert (await drive.stat("Twins/Paw too.gif")).links == 1
    assert "Paw.gif" not in await drive.list("Cats")


async def test_moving_keeps_the_file(clock: object, drive: Drive) -> None:
    """W4: a move between albums and to the root keeps inode and bytes."""
    inode = (await drive.stat("Cats/Paw.gif")).inode
    for old, new in [
        ("Cats/Paw.gif", "Twins/Paw.gif"),
        ("Twins/Paw.gif", "Paw.gif"),
        ("Paw.gif", "Empty album/P.gif"),
    ]:
        await drive.rename(old, new)
        await fails_with(errno.ENOENT, drive.stat(old))
        assert (await drive.stat(new)).inode == inode
    assert (await read(drive, "Empty album/P.gif")).startswith(b"GIF")


async def test_a_rename_replaces_in_one_step(clock: object, drive: Drive) -> None:
    """W20: what had the name is gone, what was renamed has it."""
    await write(drive, "a.png", HARBOUR)
    await write(drive, "b.png", GULLS)
    inode = (await drive.stat("a.png")).inode
    await drive.rename("a.png", "b.png")
    assert (await drive.stat("b.png")).inode == inode
    assert await read(drive, "b.png") == HARBOUR
    assert "a.png" not in await drive.list("")


async def test_a_rename_to_the_same_file(clock: object, drive: Drive) -> None:
    """W20: rename does nothing when both names are the same file."""
    await drive.link("Cats/Paw.gif", "Twins/P.gif")
    await drive.rename("Cats/Paw.gif", "Twins/P.gif")
    await drive.rename("Cats/Paw.gif", "Cats/Paw.gif")
    assert (await drive.stat("Cats/Paw.gif")).links == 2


REFUSED_RENAMES = (
    ("Cats/Paw.gif", "Cats/Minka awake.jpg", RENAME_NOREPLACE, errno.EEXIST),
    ("Cats/Paw.gif", "Cats/Minka awake.jpg", RENAME_EXCHANGE, errno.EINVAL),
    ("Empty album", "Cats", 0, errno.ENOTEMPTY),
    ("Empty album", "Cats/Paw.gif", 0, errno.ENOTDIR),
    ("Cats/Paw.gif", "Empty album", 0, errno.EISDIR),
    ("Empty album", "Cats/inside", 0, errno.EPERM),
    ("Cats", "Cats/inside", 0, errno.EINVAL),
    ("missing.png", "other.png", 0, errno.ENOENT),
    ("Cats/Paw.gif", "missing/Paw.gif", 0, errno.ENOENT),
    ("Cats/Paw.gif", "Cats/Minka awake.jpg/x", 0, errno.ENOTDIR),
)


async def test_renames_that_are_refused(clock: object, drive: Drive) -> None:
    """W20: each refusal has its errno, and nothing has changed."""
    before = {name: sorted(await drive.list(name)) for name in ("", "Cats")}
    for old, new, flags, number in REFUSED_RENAMES:
        await fails_with(number, drive.rename(old, new, flags))
    assert {name: sorted(await drive.list(name)) for name in ("", "Cats")} == before


async def test_a_directory_is_renamed(clock: object, drive: Drive) -> None:
    """W7: a renamed album keeps inode and images, also over an empty one."""
    inode = (await drive.stat("Cats")).inode
    names = await drive.list("Cats")
    await drive.rename("Cats", "Kittens")
    assert (await drive.stat("Kittens")).inode == inode
    assert await drive.list("Kittens") == names
    await drive.rename("Kittens", "Empty album")
    assert (await drive.stat("Empty album")).inode == inode
    assert not {"Cats", "Kittens"} & set(await drive.list(""))


async def test_directories_come_and_go(clock: object, drive: Drive) -> None:
    """W7, W22: mkdir and rmdir work in the root; in an album mkdir is EPERM."""
    await drive.mkdir("New")
    seen = await drive.stat("New")
    assert seen.is_directory
    assert seen.links == 2
    assert await drive.list("New") == []
    await write(drive, "New/a.png", HARBOUR)
    await fails_with(errno.ENOTEMPTY, drive.rmdir("New"))
    await fails_with(errno.ENOTEMPTY, drive.rmdir("Cats"))
    await fails_with(errno.EEXIST, drive.mkdir("New"))
    await fails_with(errno.EEXIST, drive.mkdir("New/a.png"))
    await fails_with(errno.EPERM, drive.mkdir("New/inner"))
    await fails_with(errno.ENOTDIR, drive.mkdir("New/a.png/inner"))
    await fails_with(errno.ENOTDIR, drive.rmdir("New/a.png"))
    await fails_with(errno.EISDIR, drive.unlink("New"))
    await drive.unlink("New/a.png")
    await drive.rmdir("New")
    await fails_with(errno.ENOENT, drive.stat("New"))
    await fails_with(errno.ENOENT, drive.rmdir("New"))


async def test_links_that_are_refused(clock: object, drive: Drive) -> None:
    """W21: what memberships cannot express is refused, each with its errno."""
    await write(drive, "root.png", HARBOUR)
    for path, new, number in [
        ("Cats/Paw.gif", "Cats/again.gif", errno.EEXIST),
        ("Cats/Paw.gif", "Twins/" + (await drive.list("Twins"))[0], errno.EEXIST),
        ("root.png", "Cats/root.png", errno.EXDEV),
        ("Cats/Paw.gif", "Paw.gif", errno.EXDEV),
        ("Cats", "Dogs", errno.EPERM),
        ("missing.png", "Cats/missing.png", errno.ENOENT),
    ]:
        await fails_with(number, drive.link(path, new))
    assert (await drive.stat("Cats/Paw.gif")).links == 1


async def test_what_an_account_does_not_have(clock: object, drive: Drive) -> None:
    """W22: symbolic links, pipes and devices are EPERM; mknod makes an empty file."""
    await fails_with(errno.EPERM, drive.symlink("Cats", "Dogs"))
    await fails_with(errno.EPERM, drive.mknod("pipe", stat.S_IFIFO | 0o600))
    await drive.mknod("a.png", stat.S_IFREG | 0o644)
    assert (await drive.stat("a.png")).size_bytes == 0
    await fails_with(errno.EEXIST, drive.mknod("a.png", stat.S_IFREG | 0o644))


REFUSED_NAMES = (
    ("@all", errno.EPERM),
    (os.fsdecode(b"caf\xe9.png"), errno.EILSEQ),
    ("x" * 252 + ".png", errno.ENAMETOOLONG),
)


async def test_names_that_are_refused(clock: object, drive: Drive) -> None:
    """W13: a name that cannot be is refused when it is given, by open and by rename."""
    for name, number in REFUSED_NAMES:
        await fails_with(number, drive.open(name, os.O_WRONLY | os.O_CREAT))
        await fails_with(number, drive.mkdir(name))
        await fails_with(number, drive.rename("Cats/Paw.gif", f"Cats/{name}"))
    assert "Paw.gif" in await drive.list("Cats")


async def test_a_name_that_no_media_file_has(clock: object, drive: Drive) -> None:
    """W13: such a name is EOPNOTSUPP, unless the content is known to be a picture."""
    await fails_with(errno.EOPNOTSUPP, drive.open("a.txt", os.O_WRONLY | os.O_CREAT))
    await write(drive, "Cats/a.txt.part", b"no picture")
    await fails_with(errno.EOPNOTSUPP, drive.rename("Cats/a.txt.part", "Cats/a.txt"))
    await drive.rename("Cats/Paw.gif", "Cats/Paw.txt")
    assert (await read(drive, "Cats/Paw.txt")).startswith(b"GIF")


async def test_temporary_names_are_scratch(clock: object, drive: Drive) -> None:
    """W12: a file under a temporary name is not uploaded; renamed, it is."""
    for name in (".a.png.Xy12zQ", "a.png.part", "a.png~", ".goutputstream-7XQ1"):
        await write(drive, f"Cats/{name}", HARBOUR)
        assert await drive.xattr(f"Cats/{name}", "user.imgurfs.state") == b"scratch"
        await drive.rename(f"Cats/{name}", "Cats/a.png")
        assert await drive.xattr("Cats/a.png", "user.imgurfs.state") == b"waiting"
        await drive.unlink("Cats/a.png")


async def test_times_are_kept(clock: object, drive: Drive) -> None:
    """W23: times are kept to the nanosecond, each by itself, on files and albums."""
    await write(drive, "a.png", HARBOUR)
    for path in ("a.png", "Cats/Paw.gif", "Cats"):
        mtime_ns, atime_ns = 1_234_567_890_123_456_789, 987_654_321_987_654_321
        await drive.utime(path, mtime_ns=mtime_ns, atime_ns=atime_ns)
        seen = await drive.stat(path)
        assert (seen.mtime_ns, seen.atime_ns) == (mtime_ns, atime_ns)
        await drive.utime(path, mtime_ns=5)
        seen = await drive.stat(path)
        assert (seen.mtime_ns, seen.atime_ns) == (5, atime_ns)
        await drive.utime(path, atime_ns=7)
        seen = await drive.stat(path)
        assert (seen.mtime_ns, seen.atime_ns) == (5, 7)


async def test_times_set_before_closing_stay(clock: object, drive: Drive) -> None:
    """W23: the time that a copy sets on an open file is not lost when it is closed."""
    async with opened(drive, "a.png", os.O_WRONLY | os.O_CREAT) as file:
        await file.write(HARBOUR)
        await drive.utime("a.png", mtime_ns=1_000_000_001)
    assert (await drive.stat("a.png")).mtime_ns == 1_000_000_001
    await drive.settle()
    assert (await drive.stat("a.png")).mtime_ns == 1_000_000_001


async def test_permissions_are_accepted(clock: object, drive: Drive) -> None:
    """W23: chmod succeeds and changes nothing."""
    for path in ("Cats/Paw.gif", "Cats"):
        before = (await drive.stat(path)).mode
        await drive.chmod(path, 0o700)
        assert (await drive.stat(path)).mode == before


async def test_a_directory_that_changes_while_it_is_read(
    clock: object, drive: Drive
) -> None:
    """W24: names that stay are given once each; from the beginning, it is as it is."""
    await drive.mkdir("Many")
    names = [f"{number:02}.png" for number in range(40)]
    for name in names:
        await write(drive, f"Many/{name}", HARBOUR)
    async with drive.reading("Many") as directory:
        seen = await directory.next(5)
        gone = [name for name in names if name not in seen][-10:]
        for name in [*gone, *seen[:3]]:
            await drive.unlink(f"Many/{name}")
        await write(drive, "Many/late.png", HARBOUR)
        seen += await directory.next(1000)
        assert len(seen) == len(set(seen))
        assert set(names) - set(gone) <= set(seen)
        await directory.rewind()
        again = await directory.next(1000)
    stayed = (set(names) - set(gone) - set(seen[:3])) | {"late.png"}
    assert sorted(again) == sorted(stayed)


async def test_a_name_that_is_gone_is_not_given(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """W24: what was removed before it was asked for is not told to the kernel."""
    async with in_process(tmp_path) as drive:
        names = await drive.list("Holiday 2023")
        async with drive.reading("Holiday 2023") as directory:
            seen = await directory.next(2)
            gone = names[3]
            await drive.unlink(f"Holiday 2023/{gone}")
            seen += await directory.next(1000)
        assert seen == [name for name in names if name != gone]


async def test_a_place_in_a_directory_is_found_again(
    clock: object, drive: Drive
) -> None:
    """W24: telldir and seekdir lead to where they were, also past a removed name."""
    await drive.mkdir("Many")
    for number in range(12):
        await write(drive, f"Many/{number:02}.png", HARBOUR)
    async with drive.reading("Many") as directory:
        first = await directory.next(4)
        place = await directory.tell()
        rest = await directory.next(1000)
        await drive.unlink(f"Many/{first[3]}")
        await directory.seek(place)
        assert await directory.next(1000) == rest


async def test_attributes_that_can_be_set(clock: object, drive: Drive) -> None:
    """W9: title and description of files and albums are set and removed."""
    for path in ("Cats/Paw.gif", "Cats"):
        for name in ("user.imgur.title", "user.imgur.description"):
            await drive.set_xattr(path, name, "Zoë's".encode())
            assert await drive.xattr(path, name) == "Zoë's".encode()
            await drive.remove_xattr(path, name)
            await fails_with(errno.ENODATA, drive.xattr(path, name))
            await fails_with(errno.ENODATA, drive.remove_xattr(path, name))
    assert "Paw.gif" in await drive.list("Cats")


async def test_attributes_that_cannot_be_set(clock: object, drive: Drive) -> None:
    """W9: all others are ENOTSUP, and text that is not UTF-8 EILSEQ."""
    for name in ("user.imgur.id", "user.imgurfs.state", "user.mine"):
        await fails_with(errno.ENOTSUP, drive.set_xattr("Cats/Paw.gif", name, b"x"))
        await fails_with(errno.ENOTSUP, drive.remove_xattr("Cats/Paw.gif", name))
    acl = b"\2\0\0\0\1\0\6\0\xff\xff\xff\xff\4\0\4\0\xff\xff\xff\xff"
    acl += b" \0\4\0\xff\xff\xff\xff"
    posix = drive.set_xattr("Cats/Paw.gif", "system.posix_acl_access", acl)
    await fails_with(errno.ENOTSUP, posix)
    wrong = drive.set_xattr("Cats/Paw.gif", "user.imgur.title", b"\xff")
    await fails_with(errno.EILSEQ, wrong)
