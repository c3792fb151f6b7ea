"""Runs as the first program of a network namespace, then becomes the command given.

Usage: inside.py HOSTS COMMAND… Brings the loopback device up and puts the file HOSTS
in the place of /etc/hosts, for this namespace only. Needs no tools but mount.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import subprocess
import sys

_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 0x1
_REQUEST = "16sH14x"


def raise_loopback() -> None:
    """Bring the device ``lo`` up; a new namespace has it down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        asked = struct.pack(_REQUEST, b"lo", 0)
        answer = fcntl.ioctl(any_socket, _GET_FLAGS, asked)
        _, flags = struct.unpack(_REQUEST, answer)
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack(_REQUEST, b"lo", flags | _UP))


def main() -> None:
    """Prepare the namespace and become the command."""
    hosts, *command = sys.argv[1:]
    raise_loopback()
    subprocess.run(["mount", "--bind", hosts, "/etc/hosts"], check=True)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
