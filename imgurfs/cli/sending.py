"""How far uploads are, shown while a command waits for them. Not a command.

What is in the queue is read from the account's database; how much of a file is in the
air only the process that sends it knows, and tells with :meth:`SendingView.note`.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Never, Self

from imgurfs.cli.live import Course, ProgressView, Sending, pause_s

if TYPE_CHECKING:
    from imgurfs.cli.opened import Opened
    from imgurfs.jobs.steps import Progress

#: How often the progress is renewed.
_PROGRESS_S = 0.5


class SendingView:
    """Shows a queue's uploads while its ``with`` block runs and :meth:`run` does.

    Only those whose key begins with ``key_prefix`` are counted, "" for all.
    """

    def __init__(self, state: Opened, *, is_quiet: bool, key_prefix: str = "") -> None:
        self._state = state
        self._key_prefix = key_prefix
        self._course = Course()
        self._view = ProgressView(state.clock, is_quiet=is_quiet)
        self._progress: dict[int, Progress] = {}

    def __enter__(self) -> Self:
        self._view.__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._view.__exit__(exc_type, exc, tb)

    def note(self, progress: Progress) -> None:
        """Note how much of a file has left."""
        self._progress[progress.job_id] = progress

    async def run(self) -> Never:
        """Show where things stand, again and again, until cancelled."""
        import trio

        clock, took_s = self._state.clock, 0.0
        while True:
            await trio.sleep(pause_s(_PROGRESS_S, took_s))
            began_s = clock.monotonic()
            self._show()
            took_s = clock.monotonic() - began_s

    def _show(self) -> None:
        from imgurfs.cli.forecast import of_queue
        from imgurfs.jobs import queueing
        from imgurfs.store import outbox_lists

        now = self._state.clock.now()
        tallies = outbox_lists.tallies(
            self._state.reader, now=now, key_prefix=self._key_prefix
        )
        uploads = [one for one in tallies if one.kind == queueing.UPLOAD]
        self._course.see(
            sum(one.count for one in uploads), sum(one.size_bytes for one in uploads)
        )
        eta = of_queue(self._state, tallies)
        note = "" if eta is None else str(eta["text"])
        self._view.show(self._course, note=note, sending=self._in_air())

    def _in_air(self) -> list[Sending]:
        from imgurfs.jobs import drive_names
        from imgurfs.store import outbox_lists
        from imgurfs.store.outbox import JobState

        c = self._state.reader
        jobs = outbox_lists.listed(c, states=[JobState.SENDING], kind="upload")
        sent = {job.id: self._progress.get(job.id) for job in jobs}
        self._progress = {i: known for i, known in sent.items() if known is not None}
        return [
            Sending(
                job.id,
                drive_names.what(c, job),
                known.sent_bytes if (known := sent[job.id]) is not None else 0,
                job.size_bytes,
            )
            for job in jobs
        ]
