"""``mount.fuse.imgurfs``: what mount(8) runs for a line of type ``fuse.imgurfs``.

::

    default  /mnt/imgur  fuse.imgurfs  setuid=anna,allow_other,noauto  0  0

mount(8) looks for it in /sbin and calls it with SOURCE, DIRECTORY, ``-o OPTIONS`` and
flags. SOURCE is the account's name in the configuration. It does what ``imgurfs mount``
does, as the user of ``setuid=``, and ends when the drive is ready; the exit codes are
mount(8)'s own: 0, 1 for wrong words, 32 for "not mounted".
"""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from imgurfs.errors import ConfigError, ImgurfsError, UsageError

_PROGRAM: Final = "mount.fuse.imgurfs"
_USAGE: Final = f"use: {_PROGRAM} ACCOUNT DIRECTORY [-sfnv] [-o OPTIONS]"
_WRONG, _FAILED = 1, 32
#: mount(8) may write df's form of the source.
_PREFIX: Final = "imgur:"


@dataclass(frozen=True, slots=True)
class _Request:
    """What mount(8) asks for. ``is_fake``: look at the words and do nothing."""

    source: str
    mountpoint: str
    options: str
    is_sloppy: bool
    is_fake: bool
    verbosity: int

    @property
    def account(self) -> str:
        return self.source.removeprefix(_PREFIX)


def main() -> None:
    """Entry point of mount(8): mount, say in a line or two why not, and exit."""
    sys.exit(run(sys.argv[1:]))


def run(words: Sequence[str]) -> int:
    """Mount as told by mount(8); return its kind of exit code."""
    from imgurfs.cli.context import report

    try:
        request = _read(words)
        arguments = _arguments(request)
    except ImgurfsError as error:
        report(error, program=_PROGRAM, verbosity=0)
        return _WRONG
    if request.is_fake:
        return 0
    from imgurfs.cli.main import cli, invoke

    code = invoke(cli, program=_PROGRAM, arguments=arguments)
    return {0: 0, 2: _WRONG}.get(code, _FAILED)


def _read(words: Sequence[str]) -> _Request:
    """Return what is asked for. Raises UsageError."""
    plain, options, flags = [], [], ""
    rest = iter(words)
    for word in rest:
        match word:
            case "-o":
                options.append(next(rest, ""))
            case "-t":
                next(rest, "")  # our own type, or we would not have been called
            case "-N":
                raise UsageError("mounting in another namespace is not possible")
            case _ if len(word) > 1 and word.startswith("-"):
                flags += word[1:]
            case _:
                plain.append(word)
    if len(plain) != 2 or not all(plain) or set(flags) - set("sfnv"):
        raise UsageError("these words mean nothing here", hint=_USAGE)
    return _Request(
        source=plain[0],
        mountpoint=plain[1],
        options=",".join(options),
        is_sloppy="s" in flags,
        is_fake="f" in flags,
        verbosity=flags.count("v"),
    )


def _arguments(request: _Request) -> list[str]:
    """Return the command line for ``imgurfs``, become the user, or raise UsageError."""
    from imgurfs import paths
    from imgurfs.cli import mount_options

    if "remount" in request.options.split(","):
        raise UsageError(
            "a drive cannot be remounted with other options",
            hint=f"umount {request.mountpoint}, and mount it again",
        )
    flags = mount_options.parse(request.options, is_sloppy=request.is_sloppy)
    try:
        paths.account_paths(request.account)
    except ConfigError as error:
        raise UsageError(error.message, hint=f"{error.hint}; {_USAGE}") from error
    arguments = ["--account", request.account, *["-v"] * request.verbosity]
    if flags.config_file is not None:
        arguments += ["--config", str(flags.config_file)]
    arguments += ["mount", *flags.as_arguments(), "--source", request.source]
    if flags.user and not request.is_fake:
        _become(flags.user)
    return [*arguments, "--", request.mountpoint]


def _become(name: str) -> None:
    """Be that user for good, with the user's home: there configuration and state are.

    Raises UsageError when there is no such user or we may not.
    """
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        raise UsageError(f"setuid={name}: there is no such user") from None
    if user.pw_uid == os.geteuid():
        return
    try:
        os.setgroups(os.getgrouplist(name, user.pw_gid))
        os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
        os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
    except PermissionError:
        raise UsageError(
            f"setuid={name}: only root can mount for somebody else"
        ) from None
    # Whoever called is somebody else, whose directories these are.
    for variable in [key for key in os.environ if key.startswith(("XDG_", "IMGURFS_"))]:
        del os.environ[variable]
    os.environ.update(HOME=user.pw_dir, USER=name, LOGNAME=name)
    os.chdir("/")
