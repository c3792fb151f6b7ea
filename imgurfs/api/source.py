"""The body of an upload: a frame around a local file, read piece by piece.

Only ``api.client`` uses it. The file is opened and measured before anything is sent;
one that turns out shorter cuts the request, which Imgur then cannot have accepted.
Whether the *content* changed meanwhile is for the caller to compare.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Self

import httpx

from imgurfs import limits
from imgurfs.api.wire import Multipart
from imgurfs.errors import SourceChangedError
from imgurfs.executor import Executor, ThreadLane


class FileBody(httpx.AsyncByteStream):
    """The multipart body of one upload; sent once."""

    def __init__(
        self,
        *,
        path: Path,
        fd: int,
        size_bytes: int,
        frame: Multipart,
        executor: Executor,
        on_sent: Callable[[int], None] | None = None,
    ) -> None:
        self._path = path
        self._on_sent = on_sent
        self._fd = fd
        self._size_bytes = size_bytes
        self._frame = frame
        self._executor = executor
        self._offset = 0
        self._stage = "head"

    def __repr__(self) -> str:
        return f"<FileBody {self._path} {self._offset}/{self._size_bytes}>"

    # An iterator and not a generator: one abandoned halfway leaves nothing to finalize.
    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._stage == "head":
            self._stage = "file" if self._size_bytes else "tail"
            return self._frame.head
        if self._stage == "file":
            piece = await self._executor.run(ThreadLane.DISK, self._read)
            self._offset += len(piece)
            if self._on_sent is not None:
                self._on_sent(self._offset)
            if self._offset == self._size_bytes:
                self._stage = "tail"
            return piece
        if self._stage == "tail":
            self._stage = "end"
            return self._frame.tail
        raise StopAsyncIteration

    def _read(self) -> bytes:
        wanted = min(limits.UPLOAD_CHUNK_BYTES, self._size_bytes - self._offset)
        try:
            piece = os.pread(self._fd, wanted, self._offset)
        except OSError as error:
            raise SourceChangedError(f"{self._path}: {error.strerror}") from error
        if not piece:
            raise SourceChangedError(f"{self._path} became shorter while it was sent")
        return piece


@contextlib.asynccontextmanager
async def opened(
    path: Path,
    *,
    size_bytes: int,
    frame: Multipart,
    executor: Executor,
    on_sent: Callable[[int], None] | None = None,
) -> AsyncIterator[FileBody]:
    """Open the file for one upload; raises SourceChangedError when it is not it."""
    fd = await executor.run(ThreadLane.DISK, _open, path, size_bytes)
    try:
        yield FileBody(
            path=path,
            fd=fd,
            size_bytes=size_bytes,
            frame=frame,
            executor=executor,
            on_sent=on_sent,
        )
    finally:
        os.close(fd)


def _open(path: Path, size_bytes: int) -> int:
    try:
        # Without NONBLOCK a path that became a pipe would block the thread for ever.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise SourceChangedError(f"{path}: {error.strerror}") from error
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or status.st_size != size_bytes:
        os.close(fd)
        raise SourceChangedError(f"{path} is no longer a file of {size_bytes} bytes")
    return fd
