"""All accounts of one daemon process: started, told apart, reloaded and stopped.

An account that cannot be served (log in again, a database of a newer version) leaves
the others alone and is tried again later; only when none is left does the process end,
with the exit code of what is wrong. A new configuration is taken over where it says
something new, and refused as a whole when it is not valid.

READY means that every account that can be served holds its lock and database and
watches its folders; none of that needs the network. The watchdog is fed as long as
every worker keeps its promise (``heartbeat``): a hung one ends the feeding, and the
service manager starts the program again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

import trio

from imgurfs import limits, paths
from imgurfs.assembly import Services, open_account
from imgurfs.clock import Clock, SystemClock
from imgurfs.config import Config
from imgurfs.draining import LOGIN_NOTICE
from imgurfs.errors import (
    ConfigError,
    DatabaseDamagedError,
    DatabaseError,
    ImgurfsError,
    LoginNeededError,
    MountpointError,
)
from imgurfs.notify import Notifier
from imgurfs.store import damage, notices
from imgurfs_daemon.service import Daemon, check_folders, served

log = logging.getLogger(__name__)

#: How often the line in ``systemctl status`` is renewed.
_STATUS_INTERVAL_S = 5.0
#: Exit codes after which the service manager does not start the program again.
_FINAL_CODES = frozenset({77, 78})

Opener: TypeAlias = Callable[[Config, str], AbstractAsyncContextManager[Services]]


@dataclass
class _Account:
    """One account of the configuration, and how it is doing."""

    name: str
    settings: Config
    stop: trio.Event = field(default_factory=trio.Event)
    retry: trio.Event = field(default_factory=trio.Event)
    #: Set when it is served for the first time, or could not be.
    known: trio.Event = field(default_factory=trio.Event)
    ended: trio.Event = field(default_factory=trio.Event)
    daemon: Daemon | None = None
    error: ImgurfsError | None = None


class Supervisor:
    """Serves the accounts of a configuration until it is told to stop. Used once."""

    def __init__(
        self,
        load: Callable[[], Config],
        *,
        only: str | None = None,
        notifier: Notifier,
        clock: Clock | None = None,
        opener: Opener = open_account,
    ) -> None:
        """``load`` reads the configuration; ``only`` serves that account alone."""
        self._load = load
        self._only = only
        self._notifier = notifier
        self._clock = clock or SystemClock()
        self._opener = opener
        self._stop = trio.Event()
        self._reload = trio.Event()
        self._accounts: dict[str, _Account] = {}
        self._nursery: trio.Nursery | None = None
        self._refused = ""
        self._told = ""
        self._late: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return f"<Supervisor {', '.join(self._accounts)}>"

    def stop(self) -> None:
        """Stop everything; :meth:`run` returns within ``STOP_GRACE_S``."""
        self._stop.set()

    def reload_soon(self) -> None:
        """Read the configuration again, as soon as the last reading is over."""
        self._reload.set()

    async def run(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until :meth:`stop`. Started when READY was said.

        Raises ConfigError when there is nothing to serve, and the error of an account
        when none is left that can be served.
        """
        settings = self._load()
        names = served(settings, only=self._only)
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._accounts = {name: _Account(name, settings) for name in names}
            for account in self._accounts.values():
                nursery.start_soon(self._keep, account)
            telling = await nursery.start(self._attend, task_status)
            await self._stop.wait()
            telling.cancel()
            self._notifier.stopping()
            log.info("stopping")
            with trio.move_on_after(limits.STOP_GRACE_S):
                await self._end(list(self._accounts.values()))
            nursery.cancel_scope.cancel()

    async def _attend(
        self,
        served: trio.TaskStatus[None],
        *,
        task_status: trio.TaskStatus[trio.CancelScope],
    ) -> None:
        """Tell the service manager how it goes, and obey it; hand out what ends it."""
        async with trio.open_nursery() as nursery:
            task_status.started(nursery.cancel_scope)
            for account in list(self._accounts.values()):
                await account.known.wait()
            self._notifier.ready()
            served.started()
            nursery.start_soon(self._tell)
            if self._notifier.watchdog_interval_s is not None:
                nursery.start_soon(self._ping, self._notifier.watchdog_interval_s)
            while True:
                await self._reload.wait()
                self._reload = trio.Event()
                await self.reload()

    async def reload(self) -> None:
        """Read the configuration again and take over what is new; never raises for it.

        A configuration that is not valid changes nothing, and is told.
        """
        self._notifier.reloading(self._clock.monotonic())
        self._refused = ""
        try:
            settings = self._load()
            names = served(settings, only=self._only)
            for name in names:
                check_folders(settings.folders_of(name), paths.account_paths(name))
            await self._take_over(settings, names)
        except (ConfigError, MountpointError) as error:
            self._refused = error.message
        if self._refused:
            log.error("the new configuration is not used: %s", self._refused)
        else:
            log.info("the configuration was read again")
        self._notifier.ready()
        self._say()

    def status(self) -> str:
        """Return how all accounts are doing, in one line."""
        texts = {name: _status(account) for name, account in self._accounts.items()}
        parts = [
            text if len(texts) == 1 else f"{name}: {text}"
            for name, text in texts.items()
        ]
        if self._refused:
            parts.append(f"the new configuration is not used ({self._refused})")
        return "; ".join(parts)

    def late_workers(self) -> list[str]:
        """Return the workers that have not been heard of as promised."""
        return [
            f"{name}: {heartbeat.name}"
            for name, account in self._accounts.items()
            if account.daemon is not None
            for heartbeat in account.daemon.heartbeats
            if heartbeat.is_late()
        ]

    # --- One account ---------------------------------------------------------------

    async def _keep(self, account: _Account) -> None:
        """Serve an account until it is to stop; try again what may go away."""
        was_damaged = False
        try:
            while not account.stop.is_set():
                account.retry = trio.Event()
                account.error = await self._serve(account)
                if account.error is None:
                    return
                log.error("%s: %s", account.name, _text(account.error))
                self._say()
                is_damaged = isinstance(account.error, DatabaseDamagedError)
                if is_damaged and not was_damaged:
                    was_damaged = True
                    continue  # opening it again puts a new one in its place
                self._end_if_none_is_left()
                account.known.set()
                await _wait_to_retry(account)
                was_damaged = False
        finally:
            account.ended.set()

    async def _serve(self, account: _Account) -> ImgurfsError | None:
        """Serve an account; return why that ended, None when it was to stop."""
        try:
            async with self._opener(account.settings, account.name) as services:
                await services.db.write(lambda c: notices.drop(c, LOGIN_NOTICE))
                try:
                    await _serve_with(services, account)
                except Exception as error:
                    if any(damage.is_damage(leaf) for leaf in leaves(error)):
                        services.db.suspect()
                    else:
                        await _tell_login(services, error)
                    raise
        except Exception as error:
            reason = _reason(error)
            if reason is None:
                raise
            return reason
        return None

    def _end_if_none_is_left(self) -> None:
        """Raise an account's error when no account can be served any more."""
        errors = [account.error for account in self._accounts.values()]
        found = [error for error in errors if error is not None]
        if len(found) < len(errors):
            return
        passing = [e for e in found if e.exit_code not in _FINAL_CODES]
        raise (passing or found)[0]

    async def _end(self, accounts: Sequence[_Account]) -> None:
        for account in accounts:
            account.stop.set()
            account.retry.set()
        for account in accounts:
            await account.ended.wait()

    # --- All of them ---------------------------------------------------------------

    async def _take_over(self, settings: Config, names: Sequence[str]) -> None:
        assert self._nursery is not None
        for name, account in list(self._accounts.items()):
            if name in names and _is_same(account.settings, settings, name):
                account.settings = settings
                if account.daemon is not None:
                    try:
                        await account.daemon.set_folders(settings.folders_of(name))
                    except DatabaseError as error:
                        # That ends it, too; what is read now is for the next one.
                        log.warning("account %s: %s", name, error.message)
                account.retry.set()
            else:
                await self._end([account])
                del self._accounts[name]
        fresh = [_Account(n, settings) for n in names if n not in self._accounts]
        self._accounts |= {account.name: account for account in fresh}
        for account in fresh:
            self._nursery.start_soon(self._keep, account)
        for account in fresh:
            await account.known.wait()

    async def _tell(self) -> None:
        while True:
            self._say()
            await trio.sleep(_STATUS_INTERVAL_S)

    def _say(self) -> None:
        text = self.status()
        if text != self._told:
            self._notifier.status(text)
            self._told = text

    async def _ping(self, interval_s: float) -> None:
        while True:
            late = frozenset(self.late_workers())
            if not late:
                self._notifier.watchdog()
            elif late != self._late:
                log.critical("not heard of for too long: %s", ", ".join(sorted(late)))
            self._late = late
            await trio.sleep(interval_s)


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield the errors that a group, or a group of groups, was raised for."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


def _reason(error: Exception) -> ImgurfsError | None:
    """Return the error of ours that ended an account, None for a bug."""
    found: ImgurfsError | None = None
    for leaf in leaves(error):
        if damage.is_damage(leaf):
            found = DatabaseDamagedError(f"the database is damaged: {leaf}")
        elif isinstance(leaf, ImgurfsError):
            found = found or leaf
        else:
            return None
    return found


def _is_same(before: Config, after: Config, name: str) -> bool:
    """Whether everything but the folders is what it was for an account."""
    return (before.account_named(name), before.budget, before.sync) == (
        after.account_named(name),
        after.budget,
        after.sync,
    )


def _status(account: _Account) -> str:
    if account.error is not None:
        return _text(account.error)
    if account.daemon is None:
        return "starting"
    return account.daemon.status()


async def _serve_with(services: Services, account: _Account) -> None:
    used = account.settings
    daemon = Daemon(services, used.folders_of(account.name))
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(daemon.run, stop=account.stop))
            while account.settings is not used:
                # They were read again meanwhile, when there was no daemon to tell.
                used = account.settings
                await daemon.set_folders(used.folders_of(account.name))
            account.daemon, account.error = daemon, None
            account.known.set()
    finally:
        # From here on it is too late to tell it; what is read is for the next one.
        account.daemon = None


def _text(error: ImgurfsError) -> str:
    return f"{error.message} ({error.hint})" if error.hint else error.message


async def _tell_login(services: Services, error: Exception) -> None:
    """Let ``imgurfs status`` tell that only a login helps, also when nothing runs."""
    reason = _reason(error)
    if isinstance(reason, LoginNeededError):
        text = f"nothing is sent: {_text(reason)}"
        try:
            await services.db.write(lambda c: notices.put(c, LOGIN_NOTICE, text))
        except ImgurfsError as failure:
            log.warning("the status does not tell: %s", failure.message)


async def _wait_to_retry(account: _Account) -> None:
    """Return when an account may be tried again: it was told to, or time passed.

    A token that Imgur does not accept is not tried again before it is another one.
    """
    token = _token_stamp(account.name)
    while True:
        with trio.move_on_after(limits.ACCOUNT_RETRY_S):
            await account.retry.wait()
        if account.retry.is_set() or not isinstance(account.error, LoginNeededError):
            return
        if _token_stamp(account.name) != token:
            return


def _token_stamp(name: str) -> int:
    """Return when the account's token was last written, 0 for never."""
    try:
        return paths.account_paths(name).token.stat().st_mtime_ns
    except OSError:
        return 0
