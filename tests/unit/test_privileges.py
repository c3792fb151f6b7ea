"""Giving up privileges, in a process that is thrown away afterwards."""

from __future__ import annotations

import json
import subprocess
import sys

_SCRIPT = """
import json, os, pathlib, subprocess, threading
from imgurfs import privileges

end = threading.Event()
ready = threading.Event()
threading.Thread(target=lambda: (ready.set(), end.wait())).start()
ready.wait()
privileges.drop()
younger = []
thread = threading.Thread(
    target=lambda: younger.append(pathlib.Path("/proc/thread-self/status").read_text())
)
thread.start()
thread.join()
tasks = pathlib.Path("/proc/self/task")
found = [(task / "status").read_text() for task in tasks.iterdir()]
child = subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True)
end.set()
print(json.dumps({"threads": found, "younger": younger, "child": child.stdout}))
"""


def _value(status: str, key: str) -> str:
    return next(
        line.split()[1] for line in status.splitlines() if line.startswith(f"{key}:")
    )


def test_no_thread_and_no_child_can_become_more() -> None:
    """Threads from before, threads from after and children: none gains anything."""
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    # The younger thread has ended, but the kernel may still show it.
    assert len(said["threads"]) >= 2
    everybody = [*said["threads"], *said["younger"], said["child"]]
    assert {_value(status, "NoNewPrivs") for status in everybody} == {"1"}
    for status in [*said["younger"], said["child"]]:
        for key in ("CapEff", "CapPrm", "CapInh", "CapAmb"):
            assert int(_value(status, key), 16) == 0
