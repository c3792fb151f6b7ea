"""What happens by itself on the emulator's clock: late commits, lag, other people."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from imgurfs.emulator.rules.limits import Limits
from imgurfs.emulator.trouble.agenda import Agenda, EventClock
from imgurfs.emulator.trouble.faultrules import parse_rules
from tests.support.emulated import Answer, ManualClock, Visitor, emulate, owner


def visit(*rules: dict[str, Any], clock: ManualClock, **options: Any) -> Visitor:
    """Return the owner of an emulator with these rules."""
    emulator = emulate(clock, **options)
    emulator.faults.replace(parse_rules(list(rules), source="test"))
    return owner(emulator)


async def titles(visitor: Visitor, path: str = "/3/account/me/albums") -> list[str]:
    """Return the titles in a list."""
    return [it["title"] for it in (await visitor.api("GET", path)).data]


async def faults(visitor: Visitor) -> Any:
    """Return what the rules have counted."""
    return (await visitor.api("GET", "/_emulator/faults")).json


LATE = {
    "action": "late_commit",
    "host": "api",
    "method": "POST",
    "path": "^/3/",
    "commit_after_s": 30,
}


async def test_a_late_commit_is_of_its_own_time() -> None:
    """Made when it is due, dated so, charged then, and logged with the fault."""
    clock = ManualClock()
    visitor = visit({**LATE, "count": 1}, clock=clock)
    begun = clock.now()
    answer = await visitor.api("POST", "/3/album", data={"title": "late"})
    assert (answer.dropped, answer.status) == (True, 0)
    clock.time_s = begun + 29
    assert "late" not in await titles(visitor)
    # Nobody looks at the moment itself.
    clock.time_s = begun + 1000
    albums = (await visitor.api("GET", "/3/account/me/albums")).data
    assert (albums[0]["title"], albums[0]["datetime"]) == ("late", int(begun) + 30)
    log = (await visitor.api("GET", "/_emulator/log")).json
    (commit,) = [it for it in log if it["fault"] == "late_commit" and it["status"]]
    assert (commit["status"], commit["at"]) == (200, begun + 30)
    assert (await visitor.api("GET", "/3/credits")).data["UserRemaining"] == 500 - 4


async def test_late_commits_overtake_each_other() -> None:
    """A retry that is answered comes before the first try that was believed lost."""
    clock = ManualClock()
    visitor = visit({**LATE, "count": 1}, clock=clock)
    await visitor.api("POST", "/3/album", data={"title": "once"})
    clock.time_s += 10
    assert (await visitor.api("POST", "/3/album", data={"title": "once"})).data
    clock.time_s += 30
    assert (await titles(visitor)).count("once") == 2


async def test_a_late_upload_arrives_whole() -> None:
    """The body of the request is kept until then."""
    clock = ManualClock()
    visitor = visit({**LATE, "answer": "status", "status": 504}, clock=clock)
    image = next(iter(visitor.emulator.world.images.values()))
    data = bytes(image.content.read(0, image.content.size_bytes))
    answer = await visitor.api("POST", "/3/image", files={"image": ("late.jpg", data)})
    assert answer.status == 504
    clock.time_s += 31
    newest = (await visitor.api("GET", "/3/account/me/images")).data[0]
    assert (newest["name"], newest["size"]) == ("late.jpg", len(data))


async def test_a_late_change_can_fail_late() -> None:
    """What is gone by then is not changed; nobody is told."""
    clock = ManualClock()
    visitor = visit({**LATE, "count": 1}, clock=clock)
    image = next(iter(visitor.emulator.world.images))
    await visitor.api("POST", f"/3/image/{image}", data={"title": "too late"})
    await visitor.api("DELETE", f"/3/image/{image}")
    clock.time_s += 31
    assert image not in visitor.emulator.world.images
    assert (await visitor.api("GET", "/3/account/me")).status == 200
    log = (await visitor.api("GET", "/_emulator/log")).json
    assert [it["status"] for it in log if it["fault"]] == [0, 404]


async def test_events_happen_in_order_although_the_one_who_asked_leaves() -> None:
    """Cancelling the request that caught up does not lose what was due."""
    clock = ManualClock()
    agenda, inside = Agenda(clock), EventClock(clock)
    seen: list[tuple[str, float]] = []

    async def event(name: str) -> None:
        await trio.lowlevel.checkpoint()
        seen.append((name, inside.now() - start))

    start = clock.now()
    agenda.put(start + 2, lambda: event("second"))
    agenda.put(start + 1, lambda: event("first"))
    agenda.put(start + 2, lambda: event("third"))
    agenda.put(start + 9, lambda: event("later"))
    clock.time_s += 5
    with trio.CancelScope() as leaving:
        leaving.cancel()
        await agenda.catch_up()
    await agenda.catch_up()
    assert seen == [("first", 1), ("second", 2), ("third", 2)]
    assert inside.now() == clock.now()
    assert repr(agenda) == "<Agenda 1 to come>"


@pytest.mark.parametrize("by_rule", [True, False])
async def test_lists_show_the_past_for_as_long_as_the_lag(*, by_rule: bool) -> None:
    """Create, add, remove, rename and delete are seen late, each in its turn."""
    clock = ManualClock()
    rules = [{"action": "lag", "host": "api", "lag_s": 2}] if by_rule else []
    changes = {} if by_rule else {"listing_lag_s": 2}
    visitor = visit(*rules, clock=clock, quirk_changes=changes)
    album = (await visitor.api("GET", "/3/account/me/albums")).data[0]
    path = f"/3/album/{album['id']}"
    members = [it["id"] for it in (await visitor.api("GET", path)).data["images"]]

    async def shown() -> tuple[list[str], list[str], int, int]:
        count = (await visitor.api("GET", "/3/account/me/images/count")).data
        listed = (await visitor.api("GET", "/3/account/me/images")).data
        images = (await visitor.api("GET", path + "/images.json")).data
        ids = [it["id"] for it in images]
        return await titles(visitor), ids, count, len(listed)

    first = await shown()
    clock.time_s += 0.5
    remove = {"ids": members[0]}
    await visitor.api("POST", path + "/remove_images", data=remove)
    clock.time_s += 0.5
    await visitor.api("PUT", path, data={"title": "renamed"})
    clock.time_s += 0.5
    await visitor.api("DELETE", f"/3/image/{members[1]}")
    assert await shown() == first
    # What is asked for by its own id is of now.
    assert (await visitor.api("GET", f"/3/image/{members[1]}")).status == 404
    clock.time_s += 1.0
    removed = await shown()
    assert removed == (first[0], members[1:], 5, 5)
    clock.time_s += 0.5
    assert await shown() == (["renamed", first[0][1]], members[1:], 5, 5)
    clock.time_s += 0.5
    assert await shown() == (["renamed", first[0][1]], members[2:], 4, 4)


async def test_a_deleted_album_lingers_and_a_new_one_is_known_by_its_id() -> None:
    """The list lags both ways; whoever made the album may read it."""
    clock = ManualClock()
    visitor = visit(clock=clock, quirk_changes={"listing_lag_s": 1.5})
    old = (await visitor.api("GET", "/3/account/me/albums")).data[0]["id"]
    new = (await visitor.api("POST", "/3/album", data={"title": "new"})).data["id"]
    await visitor.api("DELETE", f"/3/album/{old}")
    assert (await visitor.api("GET", f"/3/album/{old}")).status == 200
    assert (await visitor.api("GET", f"/3/album/{new}")).data["title"] == "new"
    assert "new" not in await titles(visitor)
    clock.time_s += 1.5
    assert (await visitor.api("GET", f"/3/album/{old}")).status == 404
    assert "new" in await titles(visitor)


async def test_lag_can_differ_from_request_to_request() -> None:
    """With a die some lists are of now and some of before, the same each time."""
    rule = {"action": "lag", "host": "api", "lag_s": 5, "probability": 0.5, "seed": 3}

    async def run() -> str:
        visitor = visit(rule, clock=ManualClock())
        await visitor.api("POST", "/3/album", data={"title": "new"})
        seen = ["new" in await titles(visitor) for _ in range(12)]
        return "".join("n" if it else "o" for it in seen)

    first = await run()
    assert set(first) == {"n", "o"}
    assert await run() == first


async def test_a_long_history_is_bounded() -> None:
    """Many changes at once are one step, and old steps are forgotten."""
    clock = ManualClock()
    visitor = visit(clock=clock, quirk_changes={"listing_lag_s": 1})
    copies: list[int] = []
    for _ in range(40):
        for _ in range(5):
            await visitor.api("POST", "/3/album", data={"title": "x"})
            clock.time_s += 0.01
        copies.append(len({id(it) for it in await _pasts(visitor, clock)}))
    assert max(copies) <= 1 / 0.05 + 1


async def _pasts(visitor: Visitor, clock: ManualClock) -> list[Any]:
    history = visitor.emulator.history
    found = (history.world_at(clock.now() - step / 100) for step in range(300))
    return [world for world in found if world is not None]


async def credits_left(visitor: Visitor) -> dict[str, int]:
    """Ask for the credits."""
    data: dict[str, int] = (await visitor.api("GET", "/3/credits")).data
    return data


async def test_others_spend_at_their_rate_and_by_seed() -> None:
    """About a thousand an hour; the same seed the same, another seed others."""

    async def run(seed: int) -> list[int]:
        clock = ManualClock()
        rule = {"action": "spend", "per_hour": 1000, "seed": seed}
        visitor = visit(rule, clock=clock)
        left = []
        await credits_left(visitor)
        for _ in range(6):
            clock.time_s += 600
            left.append((await credits_left(visitor))["ClientRemaining"])
        return left

    first = await run(1)
    assert 850 < 12_500 - first[-1] < 1150
    assert sorted(first, reverse=True) == first
    assert await run(1) == first
    assert await run(2) != first


async def test_others_bring_strikes_and_the_end_of_the_day() -> None:
    """The application's day is used up by others; five such days block the client."""
    clock = ManualClock()
    rule = {"action": "spend", "per_hour": 100, "seed": 1}
    limits = Limits(client_credits_per_day=1000)
    visitor = visit(rule, clock=clock, limits=limits)
    accounting = visitor.emulator.context.accounting
    client = visitor.emulator.credentials.client_id
    answer: Answer = await visitor.api("GET", "/3/account/me")
    assert answer.status == 200
    for day in range(5):
        assert not accounting.is_blocked(client, clock.now())
        assert accounting.strikes(client, clock.now()) == day
        # A day passes, and nobody of this account uses the API.
        clock.time_s += 86_400
        await visitor.cdn("/removed.png")
    assert accounting.is_blocked(client, clock.now())
    answer = await visitor.api("GET", "/3/account/me")
    assert answer.status == 429
    assert answer.headers["x-ratelimit-clientremaining"] == "0"
    assert (await faults(visitor))[0]["refused"] > 0


async def test_a_week_of_silence_is_caught_up_in_a_moment() -> None:
    """Nothing is counted that no window knows any more."""
    clock = ManualClock()
    visitor = visit({"action": "spend", "per_hour": 1000}, clock=clock)
    clock.time_s += 30 * 86_400
    await credits_left(visitor)
    assert (await faults(visitor))[0]["acted"] <= 30_000


async def test_scripted_edits_happen_once_and_in_order() -> None:
    """Each at its time from when the rules came; new rules end the old ones."""
    clock = ManualClock()

    def edit(at_s: float, title: str) -> dict[str, Any]:
        fields = {"title": title}
        where = {"method": "POST", "path": "/3/album", "fields": fields}
        return {"action": "edit", "at_s": at_s, **where}

    visitor = visit(edit(20, "b"), edit(10, "a"), edit(90, "never"), clock=clock)
    before = await titles(visitor)
    clock.time_s += 15
    assert await titles(visitor) == ["a", *before]
    clock.time_s += 15
    made = (await visitor.api("GET", "/3/account/me/albums")).data
    assert [it["title"] for it in made] == ["b", "a", *before]
    assert made[0]["datetime"] - made[1]["datetime"] == 10
    visitor.emulator.faults.replace(())
    clock.time_s += 900
    assert await titles(visitor) == ["b", "a", *before]


async def test_the_other_device_pays_and_is_logged_and_leaves_no_token() -> None:
    """Its requests cost the account's credits and come from another address."""
    clock = ManualClock()
    visitor = visit({"action": "edits", "per_hour": 60, "count": 9}, clock=clock)
    tokens = dict(visitor.emulator.world.access_tokens)
    clock.time_s += 3000
    left = (await credits_left(visitor))["UserRemaining"]
    log = (await visitor.api("GET", "/_emulator/log")).json
    assert len(log) == 10
    assert left >= 500 - 10
    assert visitor.emulator.world.access_tokens == tokens
    assert (await faults(visitor))[0]["acted"] == 9


async def test_edits_go_on_after_everything_is_gone() -> None:
    """An account without albums gets some; without the account nothing happens."""
    clock = ManualClock()
    visitor = visit({"action": "edits", "per_hour": 60}, clock=clock, albums=0)
    clock.time_s += 3600
    assert await titles(visitor)
    assert (await visitor.api("DELETE", "/3/account/sample")).status == 200
    clock.time_s += 3600
    counted = (await faults(visitor))[0]
    assert counted["refused"] > 30
