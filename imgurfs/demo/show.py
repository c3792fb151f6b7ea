"""The attended demo: says what to try and stays until Ctrl-C."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import trio

from imgurfs.demo.stage import Stage, check_alive, open_stage

#: How often the programs are looked after.
_LOOK_S = 1.0


async def run(directory: Path) -> int:
    """Run the demo below ``directory``; return the exit code."""
    print("starting an emulated Imgur, a mount and a sync daemon ...", flush=True)
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with open_stage(directory) as stage, trio.open_nursery() as nursery:
            print(_what_to_try(stage), flush=True)
            nursery.start_soon(_look_after, stage)
            async for _ in signals:
                print("\nunmounting and cleaning up ...", flush=True)
                nursery.cancel_scope.cancel()
                break
    return 0


async def _look_after(stage: Stage) -> None:
    while True:
        await trio.sleep(_LOOK_S)
        check_alive(stage)


def _what_to_try(stage: Stage) -> str:
    drive, folder = _short(stage.drive), _short(stage.folder)
    programs = Path(sys.executable).parent
    return f"""
  The account of {stage.emulator.username!r} is mounted at {drive}
  Files dropped into {folder} are uploaded; a subfolder becomes an album.

  In another terminal, try:
    ls -R {drive}
    mkdir {folder}/Holiday && cp some.jpg {folder}/Holiday/
    ls {drive}/Holiday                        # a few seconds later
    rm {folder}/Holiday/some.jpg              # and it goes again
    . {_short(stage.config.parent / "env")}; {_short(programs)}/imgurfs status

  The emulator's own view: {stage.emulator.api_url}/_emulator/state
  Ctrl-C ends the demo and cleans up.
"""


def _short(path: Path) -> str:
    """Return a path as one would type it from here."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else f"./{relative}"
