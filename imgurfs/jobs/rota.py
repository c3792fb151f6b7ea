"""Whose job is next: by lane, then by who was served longest ago, then by age.

Jobs of one folder and directory share a turn, so a backlog of forty albums fills all
of them evenly and a second folder does not wait for the first one's years of pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from imgurfs.model import JobId, Lane
from imgurfs.store import outbox
from imgurfs.store.database import Connection
from imgurfs.store.outbox import Job


class Rota:
    """Remembers whose turn it was. One per drainer."""

    def __init__(self) -> None:
        self._served: dict[str, int] = {}
        self._count = 0

    def __repr__(self) -> str:
        return f"<Rota turns={len(self._served)} served={self._count}>"

    def next_jobs(
        self,
        c: Connection,
        *,
        kind: str,
        now: float,
        room: int,
        in_flight: Collection[JobId],
        may_run: Callable[[Lane], bool],
    ) -> Iterator[Job]:
        """Yield at most ``room`` due jobs of a kind, from lanes that ``may_run``."""
        taken = set(in_flight)
        for lane in outbox.lanes(c, kind=kind):
            waiting = outbox.turns(c, kind=kind, lane=lane) if may_run(lane) else []
            waiting.sort(key=lambda turn: self._served.get(turn, 0))
            while waiting:
                left = []
                for turn in waiting:
                    if room <= 0:
                        return
                    job = outbox.first_of_turn(
                        c, kind=kind, lane=lane, turn=turn, now=now, without=taken
                    )
                    if job is None:
                        continue
                    left.append(turn)
                    taken.add(job.id)
                    room -= 1
                    self._count += 1
                    self._served[turn] = self._count
                    yield job
                waiting = left
