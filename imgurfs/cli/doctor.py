"""``imgurfs doctor``: looks whether everything is as it has to be, and what mends it.

The checks are in ``doctor_system``, ``doctor_files``, ``doctor_account`` and
``doctor_service``; ``doctor_run`` runs them.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from imgurfs.cli.context import EXIT_FAILED, Context, pass_context
from imgurfs.cli.words import number, printable, table

if TYPE_CHECKING:
    from imgurfs.cli.doctor_run import Check, Finding
    from imgurfs.clock import Clock

#: Without these in order there is nobody to ask Imgur as.
_NEEDED_ONLINE = frozenset({"config", "token", "databases", "disk"})
_MARKS = {"ok": "ok", "warning": "warning", "problem": "PROBLEM"}


@click.command(short_help="Find what is wrong here, and how to mend it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--offline", is_flag=True, help="Ask nobody but this machine.")
@pass_context
def doctor(context: Context, as_json: bool, offline: bool) -> int:
    """Look at FUSE, limits, login, clock, disks, configuration, services and mounts.

    Works also when nothing is set up. Nothing is changed, except that a token which
    Imgur does not take any more is renewed. Exits 1 when there is a problem; warnings
    are none.

    JSON: {"checks": [{"check", "state": ok, warning or problem, "what", "fix"}],
    "problems", "warnings"}.
    """
    from imgurfs.cli import doctor_run
    from imgurfs.clock import SystemClock

    clock = SystemClock()
    found = doctor_run.run(_local(context, clock), clock=clock)
    if not offline:
        found += doctor_run.run(_online(context, clock, found), clock=clock)
    # Most of them come from files and systems of others.
    problems = sum(one.state == "problem" for one in found)
    warnings = sum(one.state == "warning" for one in found)
    if as_json:
        facts = {
            "checks": msgspec.to_builtins(found),
            "problems": problems,
            "warnings": warnings,
        }
        print(json.dumps(facts, indent=2))
    else:
        print("\n".join(_lines(found)))
        print(f"{number(problems, 'problem')}, {number(warnings, 'warning')}")
    return EXIT_FAILED if problems else 0


def _lines(found: list[Finding]) -> list[str]:
    rows = [(_MARKS[one.state], one.check, printable(one.what)) for one in found]
    lines = []
    for row, one in zip(table(rows), found, strict=True):
        lines.append(row)
        if one.fix:
            lines.append(f"    -> {printable(one.fix)}")
    return lines


def _local(context: Context, clock: Clock) -> list[Check]:
    """Return what can be looked at without a network, in the order it is told."""
    from imgurfs import limits, paths
    from imgurfs.cli import (
        doctor_account,
        doctor_files,
        doctor_service,
        doctor_system,
    )
    from imgurfs.cli.doctor_run import Check

    system = doctor_system.System()
    places = paths.account_paths(context.account)
    # Those that look at several places run a check for each.
    long_s = 2 * limits.DOCTOR_CHECK_S
    checks = [
        Check(name="versions", look=doctor_system.versions),
        Check(name="fuse", look=partial(doctor_system.device, system)),
        Check(name="fusermount3", look=partial(doctor_system.unmounter, system)),
        Check(name="allow_other", look=partial(doctor_system.allow_other, system)),
        Check(name="fstab", look=partial(doctor_system.fstab, system)),
        Check(
            name="mounts", look=partial(doctor_system.mounts, clock), timeout_s=long_s
        ),
        Check(name="config", look=partial(doctor_files.configuration, context)),
        Check(
            name="folders",
            look=partial(doctor_files.folders, context, clock),
            timeout_s=long_s,
        ),
        Check(name="inotify", look=partial(doctor_files.watches, context, clock)),
    ]
    kept: tuple[tuple[Path, str], ...] = (
        (places.state_dir, "what waits to be uploaded"),
        (places.cache_dir, "the cache"),
    )
    checks += [
        Check(name="disk", look=partial(doctor_files.disk, path, holds=holds))
        for path, holds in kept
    ]
    return [
        *checks,
        Check(name="databases", look=partial(doctor_files.databases, context)),
        Check(name="queue", look=partial(doctor_files.trouble, context)),
        Check(name="processes", look=partial(doctor_service.processes, context)),
        Check(name="units", look=doctor_service.files),
        Check(
            name="services",
            look=partial(doctor_service.states, clock),
            timeout_s=long_s,
        ),
        Check(name="linger", look=doctor_service.linger),
        Check(name="token", look=partial(doctor_account.token, context, clock)),
    ]


def _online(context: Context, clock: Clock, found: list[Finding]) -> list[Check]:
    """Return what takes a network, if there is any use in it."""
    from imgurfs import limits
    from imgurfs.cli import doctor_account
    from imgurfs.cli.doctor_run import Check, Finding

    in_the_way = [
        one.check
        for one in found
        if one.state == "problem" and one.check in _NEEDED_ONLINE
    ]
    if in_the_way:
        what = f"not asked: first mend {', '.join(dict.fromkeys(in_the_way))}"
        return [Check(name="imgur", look=lambda: [Finding("imgur", "warning", what)])]
    # It bounds itself; a token that is being renewed is never left halfway.
    patience_s = limits.DOCTOR_CHECK_S + 3 * limits.API_CALL_TIMEOUT_S
    look = partial(doctor_account.imgur, context, clock)
    return [Check(name="imgur", look=look, timeout_s=patience_s)]
