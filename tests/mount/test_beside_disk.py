"""Random operations on a mounted drive and on a plain directory, side by side.

Kernel, mount and emulator are real; ``tests.support.beside_machine`` chooses what
happens, and ``tests.support.beside_rules`` lists where the two may differ. The long
form: ``python -m tests.simulation.drive_model --mounted``.
"""

from __future__ import annotations

import os

import pytest

from tests.simulation.pushed_ground import grounds, in_memory
from tests.support.beside_machine import BesideMachine, run_machine

EXAMPLES = int(os.environ.get("BESIDE_DISK_EXAMPLES", "300"))
STEPS = int(os.environ.get("BESIDE_DISK_STEPS", "20"))


@pytest.mark.mount
@pytest.mark.timeout(900)
def test_a_drive_is_a_plain_directory_but_for_its_rules() -> None:
    """W: Whatever is done in whatever order, by us, by others and by the one who kills,
    names, bytes and errnos are a disk's, and the account is what the directory says.
    """
    with in_memory() as directory, grounds(directory) as made:
        run_machine(made, examples=EXAMPLES, steps=STEPS, is_derandomized=True)
    assert BesideMachine.counts["kill"] > 0, BesideMachine.counts
    assert BesideMachine.counts["delete_album"] > 0, BesideMachine.counts
