"""How long the command line takes to say something."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.figures import command_seconds, say, say_ratio

BOUND_S = 0.25


def run() -> bool:
    """Time ``imgurfs --help`` beside an interpreter that only imports click."""
    imgurfs = str(Path(sys.executable).with_name("imgurfs"))
    ours = command_seconds([imgurfs, "--help"], runs=15)
    peer = command_seconds([sys.executable, "-c", "import click"], runs=15)
    held = say("imgurfs --help", ours, bound_s=BOUND_S)
    say("python -c 'import click'", peer)
    say_ratio("imgurfs --help / import click", ours, peer)
    return held
