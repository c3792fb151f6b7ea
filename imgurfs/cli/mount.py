"""``imgurfs mount`` and ``imgurfs unmount``: the account as a drive.

Without ``--foreground`` a child of this program, in a session of its own, serves the
mount; the parent waits until it says over a pipe that the drive answers, or why not.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import select
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from imgurfs import limits, paths
from imgurfs.cli import mount_options
from imgurfs.cli.context import Context, pass_context, run_trio, single_cause
from imgurfs.cli.mount_options import MountFlags
from imgurfs.errors import ImgurfsError, UnavailableError, UsageError
from imgurfs.model import ANONYMOUS

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgurfs.assembly import Services
    from imgurfs.config import Config
    from imgurfs.fuse.drive import Drive, DriveOptions

logger = logging.getLogger(__name__)

_READY: Final = b"ready\n"
#: A log longer than this is started anew by the next mount.
_LOG_BYTES_MAX: Final = limits.MIB
#: The child's checks may wait for a database before it mounts.
_CHILD_TIMEOUT_S: Final = limits.DATABASE_BUSY_TIMEOUT_S + limits.MOUNT_READY_TIMEOUT_S


class _Failure(msgspec.Struct, frozen=True):
    """What the child writes instead of "ready": its error."""

    message: str
    hint: str
    exit_code: int


class _ChildError(ImgurfsError):
    """The child's error, told by the parent as its own."""

    def __init__(self, failure: _Failure) -> None:
        super().__init__(failure.message, hint=failure.hint)
        self.exit_code = failure.exit_code


@click.command(short_help="Mount the account as a drive.")
@click.argument("mountpoint", type=click.Path(path_type=Path))
@click.option("--foreground", is_flag=True, help="Stay, and log to the terminal.")
@click.option("--read-only", is_flag=True, help="Refuse every change to the account.")
@click.option("--allow-other", is_flag=True, help="Let other users see the drive too.")
@click.option(
    "--non-media",
    type=click.Choice(["refuse", "keep-local"]),
    help="What becomes of files that Imgur does not take (default: the configuration).",
)
@click.option(
    "--drop-privileges",
    is_flag=True,
    help="With --foreground: once mounted, give up what (un)mounting takes.",
)
@click.option("--uid", metavar="USER", help="Whose the files are, instead of yours.")
@click.option("--gid", metavar="GROUP", help="Which group's the files are.")
@click.option("--umask", metavar="OCTAL", help="Rights nobody gets (default: 022).")
@click.option(
    "-o",
    "options",
    default="",
    metavar="OPTIONS",
    help="The same as in /etc/fstab: ro,allow_other,uid=,gid=,umask=,non_media=",
)
@click.option("--source", default="", hidden=True)
@click.option("--ready-fd", type=int, default=-1, hidden=True)
@pass_context
def mount(
    context: Context,
    /,
    *,
    mountpoint: Path,
    foreground: bool,
    options: str,
    ready_fd: int,
    **given: Any,
) -> None:
    """Mount the account on the empty directory MOUNTPOINT.

    Returns when the drive is ready. What is written to it is uploaded by the daemon,
    or by the mount when no daemon runs. Unmount with: imgurfs unmount MOUNTPOINT
    """
    flags = _flags(options, **given)
    if not foreground:
        _mount_in_background(context, mountpoint, flags)
        return
    with _told_to_parent(ready_fd):
        run_trio(_serve, context, mountpoint, flags, ready_fd)


def _flags(
    options: str, *, uid: str | None, gid: str | None, umask: str | None, **given: Any
) -> MountFlags:
    """Return what is wanted: the words of -o, and over them the options themselves."""
    flags = mount_options.parse(options)
    if flags.user or flags.config_file:
        raise UsageError("-o config= and setuid= are for mount(8)", hint="use --config")
    if uid is not None:
        given["uid"] = mount_options.user_id(uid)
    if gid is not None:
        given["gid"] = mount_options.group_id(gid)
    if umask is not None:
        given["umask"] = mount_options.umask_of(umask)
    # What was not said is False, "" or None; 0 is a user, and root's.
    said = {
        key: v for key, v in given.items() if v not in (None, "") and v is not False
    }
    return replace(flags, **said)


@click.command(short_help="Unmount the drive.")
@click.argument("mountpoint", type=click.Path(path_type=Path))
def unmount(mountpoint: Path) -> None:
    """Unmount the drive on MOUNTPOINT; its process ends by itself."""
    from imgurfs.fuse import mountpoint as mountpoints

    mountpoints.unmount(mountpoint)


async def _serve(
    context: Context, mountpoint: Path, flags: MountFlags, ready_fd: int
) -> None:
    """Check everything, mount, and serve until unmounted."""
    from imgurfs import assembly
    from imgurfs.fuse import mountpoint as mountpoints
    from imgurfs.fuse.drive import open_drive
    from imgurfs.fuse.session import MountOptions, serve
    from imgurfs.notify import Notifier

    _allow_many_files()
    config = context.load_config()
    config.account_named(context.account)
    mountpoints.require_fuse(allow_other=flags.allow_other)
    place = mountpoints.prepare(
        mountpoint, forbidden=forbidden(config, context.account)
    )
    async with assembly.open_account(config, context.account) as services:
        with open_drive(
            _drive_options(context, services, flags),
            db=services.db,
            api=services.api,
            http=services.http,
            clock=services.clock,
            executor=services.executor,
        ) as drive:
            background = [*drive.background, drive.invalidator.run]
            if not flags.read_only:
                await _take_spool(drive)
                draining = assembly.make_draining(services, drive.refresher)
                background.append(draining.run)
            await serve(
                place,
                drive.operations,
                options=MountOptions(
                    account_name=services.account.url,
                    source=flags.source,
                    allow_other=flags.allow_other,
                    is_read_only=flags.read_only,
                ),
                executor=services.executor,
                notifier=Notifier(),
                background=background,
                on_ready=_ready_teller(ready_fd),
                drop_privileges=flags.drop_privileges,
            )


def _allow_many_files() -> None:
    """Take as many descriptors as there are: every file open on the drive needs one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _take_spool(drive: Drive) -> None:
    """Become the account's writer, unless another mount is."""
    await drive.writer.recover()
    if not drive.writer.spool.is_owned:
        logger.warning(
            "another mount of this account is writing;"
            " this one can only read until that one has ended"
        )


def _drive_options(
    context: Context, services: Services, flags: MountFlags
) -> DriveOptions:
    """Return what configuration and flags make of the drive."""
    from imgurfs.cli import drive_files, mount_log
    from imgurfs.fuse.drive import DriveOptions

    config, errors = services.config, mount_log.RecentErrors()
    mount_log.listen(errors)
    settings = config.mount
    if services.account == ANONYMOUS:
        settings = settings.without_account()
    if flags.non_media is not None:
        settings = msgspec.structs.replace(settings, non_media=flags.non_media)
    return DriveOptions(
        cache_dir=services.paths.content_dir,
        cache_bytes_max=config.cache.size_bytes_max,
        spool_dir=services.paths.spool_dir,
        cdn_url=services.account_config.cdn_url,
        cdn_hosts=services.account_config.content_hosts,
        mount=settings,
        delete_grace_s=config.sync.delete_grace_s,
        ownership=flags.ownership,
        is_read_only=flags.read_only,
        virtual=drive_files.makers(context, errors),
    )


def forbidden(config: Config, account: str) -> list[Path]:
    """Return the directories that must not contain the mount, or lie in it."""
    watched = [Path(folder.path).expanduser() for folder in config.folder]
    return [*paths.account_paths(account).own_directories, *watched]


def _ready_teller(ready_fd: int) -> Callable[[], None] | None:
    if ready_fd < 0:
        return None

    def tell() -> None:
        # A background process must not keep the directory it was started in busy.
        os.chdir("/")
        _tell(ready_fd, _READY)

    return tell


@contextlib.contextmanager
def _told_to_parent(ready_fd: int) -> Iterator[None]:
    """Tell a waiting parent about an error before it goes its usual way."""
    try:
        yield
    except Exception as error:
        if ready_fd >= 0:
            cause = single_cause(error)
            failure = (
                _Failure(cause.message, cause.hint, cause.exit_code)
                if isinstance(cause, ImgurfsError)
                else _Failure(f"internal error: {cause!r}", "", 1)
            )
            _tell(ready_fd, msgspec.json.encode(failure) + b"\n")
        raise


def _tell(ready_fd: int, line: bytes) -> None:
    # After "ready" the pipe is closed, and a parent that gave up reads no more.
    with contextlib.suppress(OSError):
        os.write(ready_fd, line)
        os.close(ready_fd)


def _mount_in_background(context: Context, mountpoint: Path, flags: MountFlags) -> None:
    """Start the child, wait for its word, and report a failure as our own."""
    places = paths.account_paths(context.account)
    read_fd, write_fd = os.pipe()
    command = [sys.executable, "-m", "imgurfs", *context.common_arguments()]
    command += ["mount", "--foreground", "--ready-fd", str(write_fd)]
    command += flags.as_arguments()
    # "--" because a mountpoint may begin with a dash.
    command += ["--", str(mountpoint)]
    with os.fdopen(read_fd, "rb", buffering=0) as pipe:
        try:
            log = _open_log(places.mount_log)
            with os.fdopen(log, "ab") as log_file:
                child = subprocess.Popen(  # noqa: S603 - ourselves, no shell
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log_file,
                    stderr=log_file,
                    pass_fds=(write_fd,),
                    start_new_session=True,
                )
        finally:
            os.close(write_fd)
        line = _read_line(pipe.fileno(), _CHILD_TIMEOUT_S)
    if line == _READY:
        # It lives on without us; do not warn that nobody waited for it.
        child.returncode = 0
        return
    _report_failure(child, line, places.mount_log)


def _report_failure(child: subprocess.Popen[bytes], line: bytes, log: Path) -> None:
    """Make sure that the child ends, and raise its error."""
    if not line and child.poll() is None:
        child.terminate()
    try:
        child.wait(limits.STOP_GRACE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    try:
        failure = msgspec.json.decode(line, type=_Failure)
    except msgspec.DecodeError:
        raise UnavailableError(
            f"the mount did not get ready within {_CHILD_TIMEOUT_S:.0f} s",
            hint=f"see {log}",
        ) from None
    raise _ChildError(failure)


def _read_line(fd: int, timeout_s: float) -> bytes:
    """Return what the child says up to a line's end; less at its death or too late."""
    from imgurfs.clock import SystemClock

    clock = SystemClock()
    give_up_at = clock.monotonic() + timeout_s
    line = b""
    while not line.endswith(b"\n"):
        remaining_s = give_up_at - clock.monotonic()
        if remaining_s <= 0 or not select.select([fd], [], [], remaining_s)[0]:
            break
        part = os.read(fd, 65_536)
        if not part:
            break
        line += part
    return line


def _open_log(path: Path) -> int:
    """Open the background mount's log for appending; only the user can read it."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(path, flags, 0o600)
        if os.fstat(fd).st_size > _LOG_BYTES_MAX:
            os.ftruncate(fd, 0)
    except OSError as error:
        raise UnavailableError(f"{path} cannot be written: {error.strerror}") from error
    return fd
