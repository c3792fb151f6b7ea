"""Random calls on albums and images, compared with a small model of membership.

The model (tests.support.membership) knows who owns what and which album holds which
images in which order, and nothing of the emulator. A sequence is a list of (operation,
seed); a failing one is cut down before it is shown, with the seed that made it.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Awaitable, Callable
from random import Random
from urllib.parse import urlencode

import pytest
from starlette.types import Message

from imgurfs.emulator.app import Emulator, build
from imgurfs.emulator.config import Dialect, EmulatorConfig
from imgurfs.emulator.rules.limits import NO_LIMITS
from tests.support.emulated import ManualClock
from tests.support.membership import (
    ME,
    NOBODY,
    Collection,
    Fields,
    Model,
    Picture,
    Reply,
    encoded,
)

#: Sequences for each dialect; both together are what CI has to play.
SEQUENCES = int(os.environ.get("EMULATOR_SEQUENCES", "2500"))
CALLS_MAX = 16
DOT = base64.b64encode(
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00,\x00\x00\x00\x00"
    b"\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
).decode()
Step = tuple[str, int]


class Player:
    """Plays steps on a new emulator and on the model, and compares."""

    def __init__(self, dialect: Dialect) -> None:
        config = EmulatorConfig(dialect=dialect, albums=0, images=0, limits=NO_LIMITS)
        self.emulator: Emulator = build(config, ManualClock())
        self.dialect = dialect
        self.model = Model()
        known = self.emulator.credentials
        self.authorization = {
            ME: f"Bearer {known.access_token}".encode(),
            NOBODY: f"Client-ID {known.client_id}".encode(),
        }
        world = self.emulator.world
        #: What exists but is never the callers', and what does not exist.
        self.foreign_images = [*world.images, "zzzzzzz"]
        self.foreign_albums = [*world.albums, "zzzzzzz"]
        self.dead: list[str] = []
        self.trace: list[str] = []

    async def call(
        self,
        caller: str,
        method: str,
        path: str,
        fields: Fields | None = None,
        kind: str = "form",
    ) -> Reply:
        """Send one request to the API, as the account or as nobody."""
        mime, body = encoded(kind, fields or [])
        headers = [(b"authorization", self.authorization[caller])]
        scope = {
            "type": "http",
            "method": method,
            "path": path.partition("?")[0],
            "query_string": path.partition("?")[2].encode(),
            "headers": [*headers, (b"content-type", mime)] if fields else headers,
            "client": ("127.0.0.1", 50_000),
            "server": ("127.0.0.1", 80),
        }
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        await self.emulator.api(scope, receive, send)
        raw = b"".join(bytes(message.get("body", b"")) for message in sent)
        found = json.loads(raw) if raw.startswith(b"{") else None
        reply = Reply(sent[0]["status"], found)
        if method != "GET":
            who = caller or "nobody"
            self.trace.append(f"{who} {method} {path} {kind} {fields}: {reply.status}")
        return reply

    # --- Choosing ---

    def who(self, chance: Random) -> str:
        """Return the account mostly, else nobody."""
        return ME if chance.random() < 0.7 else NOBODY

    def choose_ids(self, chance: Random, caller: str) -> list[str]:
        """Return image ids: mostly usable ones, some twice, sometimes any."""
        known = self.model.usable(caller, list(self.model.pictures))
        if chance.random() < 0.25 or not known:
            known = [*self.model.pictures, *self.dead, *self.foreign_images]
        return chance.choices(known, k=chance.randint(1, 4))

    def choose_album(self, chance: Random) -> tuple[str, Collection | None, bool]:
        """Return the word for the path, the album if it is known, and "by hash"."""
        if chance.random() < 0.1 or not self.model.albums:
            return chance.choice([*self.foreign_albums, *self.dead]), None, False
        album = chance.choice(list(self.model.albums.values()))
        is_by_hash = chance.random() < 0.4
        return album.deletehash if is_by_hash else album.id, album, is_by_hash

    def may_change(self, caller: str, album: Collection | None, by_hash: bool) -> bool:
        """Whether the caller may change an album named that way."""
        return album is not None and (by_hash or caller == ME == album.owner)

    def listed(self, chance: Random, name: str, values: list[str]) -> Fields:
        """Return a list of ids in one of the encodings Imgur takes."""
        match chance.randrange(3):
            case 0:
                return [(name, ",".join(values))]
            case 1:
                return [(f"{name}[]", value) for value in values]
            case _:
                return [(name, value) for value in values]

    # --- Steps ---

    async def upload(self, chance: Random) -> None:
        """Upload a picture, perhaps into an album."""
        caller = self.who(chance)
        fields: Fields = [("image", DOT), ("type", "base64")]
        album: Collection | None = None
        is_allowed = True
        if chance.random() < 0.5:
            key, album, by_hash = self.choose_album(chance)
            is_allowed = self.may_change(caller, album, by_hash)
            fields.append((chance.choice(["album", "album_id"]), key))
        path = chance.choice(["/3/image", "/3/upload", "/3/image.json", "/3/upload/"])
        kind = chance.choice(["form", "multipart", "json"])
        reply = await self.call(caller, "POST", path, fields, kind)
        if not is_allowed:
            assert reply.status == 403, reply
            return
        image = Picture(reply.data["id"], reply.data["deletehash"], caller)
        assert image.id not in self.model.pictures
        self.model.pictures[image.id] = image
        if album is not None:
            album.members.append(image.id)

    async def create(self, chance: Random) -> None:
        """Create an album; what is not the caller's is left out silently."""
        caller = self.who(chance)
        title = chance.choice([None, "one", "two"])
        fields: Fields = [] if title is None else [("title", title)]
        members: list[str] = []
        if chance.random() < 0.6:
            more, ids, _ = self.choose_images(chance, caller)
            fields += more
            members = ids
        path = chance.choice(["/3/album", "/3/album/", "/3/album.json"])
        kind = chance.choice(["form", "multipart", "json"])
        data = (await self.call(caller, "POST", path, fields, kind)).data
        album = Collection(data["id"], data["deletehash"], caller, title, members)
        self.model.albums[album.id] = album

    def choose_images(
        self, chance: Random, caller: str
    ) -> tuple[Fields, list[str], bool]:
        """Return fields naming images, the ids that count, and "all were usable"."""
        if chance.random() < 0.35 and self.model.pictures:
            some = chance.choices(list(self.model.pictures.values()), k=2)
            hashes = [image.deletehash for image in some]
            ids = list(dict.fromkeys(image.id for image in some))
            return self.listed(chance, "deletehashes", hashes), ids, True
        chosen = self.choose_ids(chance, caller)
        usable = self.model.usable(caller, chosen)
        is_clean = set(usable) == set(chosen)
        return self.listed(chance, "ids", chosen), usable, is_clean

    async def change(
        self, chance: Random, suffix: str, methods: str
    ) -> tuple[Collection, list[str], str] | None:
        """Send images to an album; None when that had to be refused, and was."""
        caller = self.who(chance)
        key, album, by_hash = self.choose_album(chance)
        fields, ids, is_clean = self.choose_images(chance, caller)
        method = chance.choice(methods.split())
        kind = chance.choice(["form", "multipart", "json"])
        path = f"/3/album/{key}{suffix}" + chance.choice(["", "/"])
        reply = await self.call(caller, method, path, fields, kind)
        if album is None:
            # Somebody else's, or none at all.
            assert reply.status in (403, 404), reply
            return None
        if not self.may_change(caller, album, by_hash) or not is_clean:
            assert reply.status == 403, reply
            return None
        assert reply.data is True
        return album, ids, f"{method} {kind}"

    async def add(self, chance: Random) -> None:
        """Append images; those that are there keep their place."""
        done = await self.change(chance, "/add", "POST PUT")
        if done is not None:
            album, ids, _ = done
            album.members += [it for it in ids if it not in album.members]

    async def replace(self, chance: Random) -> None:
        """Set an album's images; the new back-end does not hear a multipart POST."""
        done = await self.change(chance, "", "POST PUT")
        if done is not None:
            album, ids, how = done
            if self.dialect is Dialect.LEGACY or how != "POST multipart":
                album.members = ids

    async def remove(self, chance: Random) -> None:
        """Take images out of an album; any id will do, also of no image."""
        caller = self.who(chance)
        key, album, by_hash = self.choose_album(chance)
        known = list(self.model.pictures.values())
        if known and chance.random() < 0.2:
            ids = [chance.choice(known).id]
            hashes = [self.model.pictures[it].deletehash for it in ids]
            fields = self.listed(chance, "deletehashes", hashes)
        else:
            every = [*self.model.pictures, *self.dead, *self.foreign_images]
            ids = chance.choices(every, k=3)
            fields = self.listed(chance, "ids", ids)
        # The last is how it was done in 2013.
        method, suffix = chance.choice(
            [("POST", "/remove_images"), ("DELETE", "/remove_images"), ("DELETE", "")]
        )
        path = f"/3/album/{key}{suffix}"
        if method == "DELETE" and chance.random() < 0.5:
            path, fields = f"{path}?{urlencode(fields)}", []
        reply = await self.call(caller, method, path, fields)
        if album is None:
            assert reply.status in (403, 404), reply
        elif not self.may_change(caller, album, by_hash):
            assert reply.status == 403, reply
        else:
            assert reply.data is True
            album.members = [it for it in album.members if it not in ids]

    async def retitle(self, chance: Random) -> None:
        """Change a title only: the images stay as they are."""
        caller = self.who(chance)
        key, album, by_hash = self.choose_album(chance)
        method = chance.choice(["POST", "PUT"])
        fields = [("title", chance.choice(["three", "four", " "]))]
        reply = await self.call(caller, method, f"/3/album/{key}", fields)
        if album is not None and self.may_change(caller, album, by_hash):
            assert reply.data is True
            album.title = fields[0][1].strip() or None
        else:
            assert reply.status in (403, 404), reply

    async def delete_album(self, chance: Random) -> None:
        """Delete an album; its images stay."""
        caller = self.who(chance)
        key, album, by_hash = self.choose_album(chance)
        reply = await self.call(caller, "DELETE", f"/3/album/{key}")
        if album is not None and self.may_change(caller, album, by_hash):
            assert reply.data is True
            del self.model.albums[album.id]
            self.dead.append(album.id)
        else:
            assert reply.status in (403, 404), reply

    async def delete_image(self, chance: Random) -> None:
        """Delete an image: own by id, any by deletehash, none otherwise."""
        caller = self.who(chance)
        known = list(self.model.pictures.values())
        if not known or chance.random() < 0.15:
            key = chance.choice([*self.dead, *self.foreign_images])
            reply = await self.call(caller, "DELETE", f"/3/image/{key}")
            assert reply.status in (403, 404), reply
            return
        image = chance.choice(known)
        by_hash = chance.random() < 0.5
        key = image.deletehash if by_hash else image.id
        reply = await self.call(caller, "DELETE", f"/3/image/{key}")
        if by_hash or caller == ME == image.owner:
            assert reply.data is True
            self.model.forget(image.id)
            self.dead.append(image.id)
        else:
            assert reply.status == 403, reply

    async def delete_twice(self, chance: Random) -> None:
        """The account's way of deleting an image says yes a second time."""
        known = [it.id for it in self.model.pictures.values() if it.owner == ME]
        if not known:
            return
        image_id = chance.choice(known)
        for _ in range(2):
            reply = await self.call(ME, "DELETE", f"/3/account/me/image/{image_id}")
            assert reply.data is True
        self.model.forget(image_id)
        self.dead.append(image_id)

    # --- Comparing ---

    async def compare(self) -> None:
        """Every way to read albums and images tells what the model says."""
        model = self.model
        images = [it.id for it in model.pictures.values() if it.owner == ME][::-1]
        albums = [it for it in model.albums.values() if it.owner == ME][::-1]
        listed = (await self.call(ME, "GET", "/3/account/me/images/0?perPage=100")).data
        assert [it["id"] for it in listed] == images
        assert (await self.call(ME, "GET", "/3/account/me/images/ids")).data == images
        count = (await self.call(ME, "GET", "/3/account/me/images/count")).data
        assert count == len(images)
        listed = (await self.call(ME, "GET", "/3/account/me/albums?perPage=100")).data
        assert [(it["id"], it["images_count"], it["title"]) for it in listed] == [
            (it.id, len(it.members), it.title) for it in albums
        ]
        for album in model.albums.values():
            for caller in (ME, NOBODY):
                shown = (await self.call(caller, "GET", f"/3/album/{album.id}")).data
                assert [it["id"] for it in shown["images"]] == album.members
                assert shown["images_count"] == len(album.members)
        for image_id in self.dead:
            assert (await self.call(ME, "GET", f"/3/image/{image_id}")).status == 404


STEPS: dict[str, Callable[[Player, Random], Awaitable[None]]] = {
    "upload": Player.upload,
    "create": Player.create,
    "add": Player.add,
    "replace": Player.replace,
    "remove": Player.remove,
    "retitle": Player.retitle,
    "delete_album": Player.delete_album,
    "delete_image": Player.delete_image,
    "delete_twice": Player.delete_twice,
}
WEIGHTS = [6, 4, 4, 3, 3, 1, 1, 2, 1]


def sequence(seed: int) -> list[Step]:
    """Return the steps of one sequence; the first are likely to make something."""
    chance = Random(seed)
    names = chance.choices(list(STEPS), WEIGHTS, k=chance.randint(4, CALLS_MAX))
    return [(name, chance.getrandbits(32)) for name in ["upload", "create", *names]]


async def play(dialect: Dialect, steps: list[Step]) -> str | None:
    """Play a sequence; return how it failed with its calls, None when it did not."""
    player = Player(dialect)
    try:
        for name, seed in steps:
            await STEPS[name](player, Random(seed))
        await player.compare()
    except AssertionError as error:
        return "\n".join([*player.trace, f"{error}"])
    return None


async def shortened(dialect: Dialect, steps: list[Step]) -> list[Step]:
    """Return a failing sequence without the steps it fails without."""
    for index in range(len(steps) - 1, -1, -1):
        shorter = steps[:index] + steps[index + 1 :]
        if await play(dialect, shorter) is not None:
            steps = shorter
    return steps


@pytest.mark.parametrize("dialect", list(Dialect))
async def test_membership_is_what_the_model_says(dialect: Dialect) -> None:
    """Thousands of random sequences of calls leave no difference to the model."""
    for seed in range(SEQUENCES):
        steps = sequence(seed)
        if await play(dialect, steps) is not None:
            steps = await shortened(dialect, steps)
            failure = await play(dialect, steps)
            pytest.fail(f"seed {seed}, {dialect}: {steps}\n{failure}")
