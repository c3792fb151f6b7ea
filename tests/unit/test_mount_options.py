"""The words of /etc/fstab and of ``imgurfs mount -o``."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pyfuse3
import pytest

from imgurfs.cli import mount_helper, mount_options
from imgurfs.cli.mount_options import MountFlags
from imgurfs.errors import UsageError
from imgurfs.fuse.attributes import Ownership


def test_every_word() -> None:
    """Ours count, the last of a kind; what is meant for others changes nothing."""
    text = (
        "defaults,ro,rw,allow_other,uid=0,gid=root,umask=0077,non_media=keep-local,"
        "config=/etc/imgurfs.toml,setuid=anna,_netdev,nofail,noatime,user=anna,"
        "x-systemd.automount,X-mount.mkdir,comment=a,default_permissions,,"
    )
    assert mount_options.parse(text) == MountFlags(
        allow_other=True,
        uid=0,
        gid=0,
        umask=0o077,
        non_media="keep-local",
        config_file=Path("/etc/imgurfs.toml"),
        user="anna",
    )
    assert mount_options.parse("rw,ro").read_only
    assert mount_options.parse("") == MountFlags()


@pytest.mark.parametrize(
    "text",
    [
        "sparkling", "ro=1", "uid", "uid=", "uid=-1", "uid=4294967295", "uid=²",
        "gid=none-of-that-name", "umask=8", "umask=7777", "umask=-1", "config=here",
        "non_media=eat", "allow_other=yes",
    ],
)  # fmt: skip
def test_wrong_words(text: str) -> None:
    """Unknown words and impossible values are refused."""
    with pytest.raises(UsageError):
        mount_options.parse(text)


def test_another_process_is_told_the_same() -> None:
    """What a background mount is told is what was asked for, root's 0 too."""
    flags = mount_options.parse("ro,allow_other,uid=0,gid=5,umask=0")
    assert flags.as_arguments() == [
        "--allow-other", "--read-only", "--uid", "0", "--gid", "5", "--umask", "000",
    ]  # fmt: skip
    assert MountFlags().as_arguments() == []


@pytest.mark.parametrize(
    ("umask", "is_file", "is_fixed", "mode"),
    [
        (0o022, True, False, 0o100644),
        (0o022, False, False, 0o40755),
        (0o077, True, True, 0o100400),
        (0o002, False, True, 0o40555),
    ],
)
def test_modes(umask: int, is_file: bool, is_fixed: bool, mode: int) -> None:
    """The umask takes rights from everything; what is fixed has none to write."""
    attributes = pyfuse3.EntryAttributes()
    Ownership(uid=7, gid=8, umask=umask).give(
        attributes, is_file=is_file, is_fixed=is_fixed
    )
    assert (attributes.st_mode, attributes.st_uid, attributes.st_gid) == (mode, 7, 8)
    assert stat.S_ISREG(attributes.st_mode) == is_file
    assert Ownership().uid == os.getuid()


@pytest.mark.parametrize(
    "words",
    [
        [], ["default"], ["default", "/mnt", "more"], ["default", ""], ["--help"],
        ["default", "/mnt", "-Z"], ["default", "/mnt", "-N", "1"],
        ["default", "/mnt", "-o", "remount"], ["../x", "/mnt"], ["", "/mnt"],
    ],
)  # fmt: skip
def test_wrong_calls_of_the_helper(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Called in any other way than mount(8) does: exit 1, and two lines at most."""
    assert mount_helper.run(words) == 1
    said = capsys.readouterr()
    assert (said.out, len(said.err.splitlines()) <= 2) == ("", True)
    assert said.err.startswith("mount.fuse.imgurfs: ")
