"""The switches themselves: their defaults, their reading, their documentation."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from imgurfs.cli.emulator import emulator as command
from imgurfs.emulator.config import Dialect, EmulatorConfig
from imgurfs.emulator.rules import quirks
from imgurfs.emulator.rules.limits import Limits
from imgurfs.emulator.rules.quirks import QuirkError, parse_quirks, quirks_of
from imgurfs.errors import UsageError
from tests.emulator.conftest import ServerProcess
from tests.support.emulated import anonymous, emulate, owner
from tests.support.quirky import PNG, quirky, send

DOCS = Path(__file__).parents[2] / "docs" / "EMULATOR.md"


def row(name: str) -> str:
    """Return the line of a quirk in the documentation's table."""
    legacy, new = (asdict(quirks_of(it))[name] for it in Dialect)
    default = f"{legacy}" if legacy == new else f"{legacy} / {new}"
    possible = quirks.possible_values(name)
    return f"| `{name}` | {default} | {possible} | {quirks.meaning_of(name)} |"


def test_documentation_has_every_quirk() -> None:
    """The table is what the code says, in its order and without leftovers."""
    text = DOCS.read_text(encoding="utf-8")
    section = text.partition("## Quirks\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    assert lines == [row(name) for name in quirks.NAMES]


def test_dialects_differ_where_they_were_seen_to() -> None:
    """The real defaults, by back-end."""
    legacy, new = (asdict(quirks_of(it)) for it in Dialect)
    differing = {it: (legacy[it], new[it]) for it in legacy if legacy[it] != new[it]}
    assert differing == {
        "video_processing_s": (0.0, 5.0),
        "too_big": ("400", "413"),
        "name_to_strangers": ("off", "on"),
        "set_images": ("works", "multipart_ignored"),
        "invalid_token": ("403", "401"),
    }


def test_texts_become_values() -> None:
    """Numbers are numbers, and the last of several counts."""
    texts = ["short_pages=1", "short_pages=2", "listing_lag_s=1.5", "webp=off"]
    changes = parse_quirks(texts)
    assert changes == {"short_pages": 2, "listing_lag_s": 1.5, "webp": "off"}
    config = EmulatorConfig(quirk_changes=changes)
    assert (config.quirks.short_pages, config.quirks.webp) == (2, "off")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("webp", "'webp' is not NAME=VALUE"),
        ("wepb=on", "unknown quirk 'wepb'; known are .*webp"),
        ("webp=maybe", "webp cannot be 'maybe'; possible are on, off"),
        ("short_pages=-1", "short_pages cannot be '-1'; possible are a whole number"),
        ("short_pages=1.5", "short_pages cannot be"),
        ("listing_lag_s=nan", "listing_lag_s cannot be 'nan'; possible are seconds"),
        ("sunset=soon", "sunset cannot be 'soon'; possible are off, an HTTP date"),
        ("sunset=Sat, 01 May 2027 00:00:00 GMT\r\nx: y", "sunset cannot be"),
    ],
)
def test_bad_quirks_are_explained(text: str, message: str) -> None:
    """A wrong name or value is refused with what is possible, here and by the CLI."""
    with pytest.raises(QuirkError, match=message):
        parse_quirks([text])
    result = CliRunner().invoke(command, ["--quirk", text])
    assert isinstance(result.exception, UsageError)


def test_wrong_values_in_code_are_refused() -> None:
    """A configuration cannot be built with what does not exist."""
    with pytest.raises(QuirkError, match="webp cannot be True"):
        EmulatorConfig(quirk_changes={"webp": True})


def test_command_line_changes_quirks(
    start_server: Callable[..., ServerProcess],
) -> None:
    """The option is repeatable and reaches the running emulator."""
    options = ("--quirk", "missing_image=page", "--quirk", "reset_header=epoch")
    server = start_server("--albums", "0", *options)
    facts = json.loads(server.first_line)
    answer = httpx.get(
        facts["api_url"] + "/3/image/zzzzzzz",
        headers={"Authorization": "Client-ID " + facts["client_id"]},
    )
    assert answer.status_code == 404
    assert "simple 404 page" in answer.text
    assert int(answer.headers["x-ratelimit-userreset"]) > 1_000_000_000


# --- Those that no row of refusals is about ---


@pytest.mark.parametrize("value", ["limits", "1", "10"])
async def test_upload_cost(value: str) -> None:
    """As the limits say, or fixed."""
    changes = {"upload_cost": value}
    me = owner(emulate(limits=Limits(upload_cost=3), quirk_changes=changes))
    answer = await send(me)
    cost = 3 if value == "limits" else int(value)
    assert answer.headers["x-ratelimit-userremaining"] == str(500 - cost)


@pytest.mark.parametrize("field", ["album", "album_id"])
async def test_album_ignored_at_upload(field: str, dialect: Dialect) -> None:
    """The upload succeeds and the album stays as it was; others' are still refused."""
    me = quirky(dialect, album_on_upload="ignored")
    album_id = (await me.api("GET", "/3/account/me/albums/ids")).data[0]
    before = list(me.emulator.world.albums[album_id].images)
    made = (await send(me, **{field: album_id})).data
    assert list(me.emulator.world.albums[album_id].images) == before
    assert made["id"] in me.emulator.world.images
    assert (await send(me, **{field: "nobodys"})).status == 403


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("kept", "a b/ü~1234567890abcdef.png"),
        ("dropped", ""),
        ("truncated", "a b/ü~1234567890abcd"),
        ("sanitised", "a_b___1234567890abcdef.png"),
    ],
)
async def test_name_on_upload(value: str, kept: str, dialect: Dialect) -> None:
    """What becomes of a file name, sent as a field or with the file."""
    me = quirky(dialect, name_on_upload=value)
    sent = "a b/ü~1234567890abcdef.png"
    made = (await send(me, name=sent)).data
    assert made["name"] == kept
    files = {"image": (sent, PNG)}
    made = (await me.api("POST", "/3/upload", files=files)).data
    assert made["name"] == kept
    assert (await me.api("GET", f"/3/image/{made['id']}")).data["name"] == kept


@pytest.mark.parametrize("value", ["on", "off"])
async def test_name_shown_to_strangers(value: str, dialect: Dialect) -> None:
    """Whether others are told the name; the owner always is."""
    emulator = emulate(dialect=dialect, quirk_changes={"name_to_strangers": value})
    image = next(iter(emulator.world.images.values()))
    path = f"/3/image/{image.id}"
    shown = (await anonymous(emulator).api("GET", path)).data
    assert shown.get("name") == (image.name if value == "on" else None)
    assert (await owner(emulator).api("GET", path)).data["name"] == image.name


async def test_favorite_that_only_sets() -> None:
    """With the quirk a second call changes nothing, for images and albums."""
    me = quirky(favorite="sets")
    image_id = (await me.api("GET", "/3/account/me/images/ids")).data[0]
    album_id = (await me.api("GET", "/3/account/me/albums/ids")).data[0]
    for path in (f"/3/image/{image_id}", f"/3/album/{album_id}"):
        for _ in range(2):
            answer = await me.api("POST", path + "/favorite")
            assert answer.data == "favorited"
        assert (await me.api("GET", path)).data["favorite"] is True


@pytest.mark.parametrize("short", [0, 1, 3, 100])
async def test_short_pages_lose_nothing(short: int, dialect: Dialect) -> None:
    """Pages hold fewer than asked for; all that is there comes before the empty one."""
    changes = {"short_pages": short}
    me = owner(emulate(dialect=dialect, images=11, quirk_changes=changes))
    seen: list[str] = []
    for number in range(20):
        path = f"/3/account/me/images/ids/{number}?perPage=4"
        page = (await me.api("GET", path)).data
        if not page:
            break
        assert len(page) <= max(1, 4 - short)
        seen += page
    account = me.emulator.world.account("sample")
    assert account is not None
    assert seen == list(reversed(account.images))


@pytest.mark.parametrize("value", ["same", "added", "rotated"])
async def test_refresh_token(value: str) -> None:
    """The same token again, a second one, or one in place of the first."""
    me = quirky(refresh_token=value)
    known = me.emulator.credentials
    fields = {
        "grant_type": "refresh_token",
        "client_id": known.client_id,
        "client_secret": known.client_secret,
    }

    async def refresh(token: str) -> tuple[int, str]:
        data = {**fields, "refresh_token": token}
        answer = await anonymous(me.emulator).api("POST", "/oauth2/token", data=data)
        return answer.status, answer.json.get("refresh_token", "")

    status, new = await refresh(known.refresh_token)
    assert status == 200
    assert (new == known.refresh_token) is (value == "same")
    assert (await refresh(new))[0] == 200
    expected = 400 if value == "rotated" else 200
    assert (await refresh(known.refresh_token))[0] == expected
