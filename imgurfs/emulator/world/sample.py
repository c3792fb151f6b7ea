"""The worlds an emulator starts with: the drawn sample account, or one of any size.

Builds into a given World; deterministic from its seed. Dates are fixed, so that two
runs show the same listing.
"""

from __future__ import annotations

from dataclasses import dataclass

from imgurfs.emulator.config import EmulatorConfig
from imgurfs.emulator.world import pictures
from imgurfs.emulator.world.content import Content, Filled, Stored
from imgurfs.emulator.world.world import Account, Album, Image, World

#: 2024-03-01 12:00 UTC; each image is an hour younger than the one before.
FIRST_DATE_S = 1_709_294_400
_STEP_S = 3_600
_POOL_PER_KIND = 4
_WIDTH, _HEIGHT = 640, 480

#: The number of the sample account, which no setting changes.
SAMPLE_ID = 135_798_223
#: Somebody else, whose things the sample account may see but not change.
STRANGER = "passer_by"

_PLACES: dict[str, tuple[str, ...]] = {
    "Holiday 2023": (
        "Harbour at dawn",
        "Lighthouse",
        "Old bridge",
        "Market stalls",
        "Cliff path",
        "Ferry",
        "Sand dunes",
        "Last evening",
    ),
    "Cats": ("Minka asleep", "Minka awake", "Tom on the fence", "Paw"),
    "Screenshots": ("Terminal", "Map of the city", "High score", "Error 1024"),
    "Hostile names": (
        "../../etc/passwd",
        "two\nlines",
        "right-to-left \u202egnp.exe",
        "x" * 300,
        "a/b\\c:d*e?f",
        "CON",
        ".",
        "..",
        "   ",
        "nul\x00byte",
    ),
}
_EMPTY_TITLE = "Empty album"
_TWIN_TITLE = "Twins"
_HOSTILE_TITLE = "../../etc"
_LOOSE = ("Single picture", "Another single", "Without an album")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client needs to use the emulator as the sample account."""

    client_id: str
    client_secret: str
    refresh_token: str
    access_token: str
    username: str


def populate(world: World, config: EmulatorConfig) -> Credentials:
    """Fill an empty world and return how to log in."""
    account = world.add_account(config.username, account_id=SAMPLE_ID, now=0)
    account.created_s = FIRST_DATE_S - 86_400
    client_id, client_secret = world.hex(15), world.hex(40)
    world.clients[client_id] = client_secret
    refresh_token = world.hex(40)
    world.refresh_tokens[refresh_token] = (account.url, client_id)
    token = world.new_access_token(
        account=account.url, client_id=client_id, expires_at=float("inf")
    )
    if config.is_sample:
        _draw_sample(world, account, large_bytes=config.large_bytes)
    else:
        albums = config.albums or 0
        _generate(world, account, albums=albums, images=config.images or 0)
    _add_stranger(world)
    return Credentials(client_id, client_secret, refresh_token, token.text, account.url)


class _Artist:
    """Adds drawn images to one account, one after the other."""

    def __init__(self, world: World, account: Account) -> None:
        self._world = world
        self._account = account
        self._number = 0

    def _add(
        self,
        content: Content,
        *,
        title: str,
        mime: str,
        width: int = _WIDTH,
        height: int = _HEIGHT,
        animated: bool = False,
    ) -> Image:
        extension = {"image/jpeg": "jpg", "video/mp4": "mp4"}.get(mime, mime[-3:])
        self._number += 1
        return self._world.add_image(
            content,
            owner=self._account.url,
            mime=mime,
            now=FIRST_DATE_S + self._number * _STEP_S,
            title=title,
            name=f"IMG_{self._number:04d}.{extension}",
            width=width,
            height=height,
            animated=animated,
        )

    def still(self, title: str) -> Image:
        """Draw a JPEG, PNG or GIF in turn."""
        kind = pictures.KINDS[self._number % len(pictures.KINDS)]
        data = pictures.draw_picture(title, number=self._number, kind=kind)
        return self._add(Stored(data), title=title, mime=f"image/{kind}")

    def animation(self, title: str) -> Image:
        """Draw an animated GIF."""
        data = pictures.draw_animation(
            title, number=self._number, width=320, height=240
        )
        return self._add(
            Stored(data),
            title=title,
            mime="image/gif",
            width=320,
            height=240,
            animated=True,
        )

    def large_video(self, title: str, *, size_bytes: int) -> Image:
        """Add a file too large to be downloaded for a peek."""
        content = Filled(pictures.large_video_head(size_bytes), size_bytes=size_bytes)
        return self._add(
            content,
            title=title,
            mime="video/mp4",
            width=1920,
            height=1080,
            animated=True,
        )


def _draw_sample(world: World, account: Account, *, large_bytes: int) -> None:
    artist = _Artist(world, account)
    groups = {
        title: [artist.still(name) for name in names]
        for title, names in _PLACES.items()
    }
    groups["Moving things"] = [
        artist.animation("Bouncing discs"),
        artist.large_video("Large video", size_bytes=large_bytes),
        artist.still("Still life"),
    ]
    # One image in two albums.
    groups["Cats"].append(groups["Holiday 2023"][0])
    for title, members in groups.items():
        _album(world, account, title, members)
    _album(world, account, _EMPTY_TITLE, [])
    _album(world, account, _HOSTILE_TITLE, [artist.still("Inside the hostile album")])
    for number in (1, 2):
        _album(world, account, _TWIN_TITLE, [artist.still(f"Twin {number}")])
    # Two images with the same title in one album.
    _album(world, account, "Same names", [artist.still("Untitled") for _ in range(2)])
    for title in _LOOSE:
        artist.still(title)
    artist.still("").title = None


def _album(world: World, account: Account, title: str, members: list[Image]) -> Album:
    return world.add_album(
        owner=account.url,
        now=FIRST_DATE_S + len(world.albums) * _STEP_S,
        title=title,
        images=[image.id for image in members],
    )


def _generate(world: World, account: Account, *, albums: int, images: int) -> None:
    """Add exactly that many; image ``i`` is in album ``i % albums`` only."""
    pool = [
        (kind, pictures.draw_picture(f"{kind} {n}", number=n, kind=kind))
        for n in range(_POOL_PER_KIND if images else 0)
        for kind in pictures.KINDS
    ]
    made = [
        world.add_album(
            owner=account.url,
            now=FIRST_DATE_S + number,
            title=f"Album {number + 1:04d}",
        )
        for number in range(albums)
    ]
    for number in range(images):
        kind, base = pool[number % len(pool)]
        # The padding makes sizes differ, so that mixed-up pictures are noticed.
        text = f"imgurfs emulator picture {number:08d} " + "." * (number * 37 % 200)
        image = world.add_image(
            pictures.splice_comment(base, kind=kind, comment=text.encode()),
            owner=account.url,
            mime=f"image/{kind}",
            now=FIRST_DATE_S + number,
            title=f"Picture {number + 1:06d}",
            name=f"picture{number + 1:06d}.{'jpg' if kind == 'jpeg' else kind}",
            width=_WIDTH,
            height=_HEIGHT,
        )
        if made:
            made[number % albums].images[image.id] = None


def _add_stranger(world: World) -> None:
    stranger = world.add_account(STRANGER, account_id=24_680_135, now=FIRST_DATE_S)
    image = world.add_image(
        Stored(pictures.draw_picture("Not yours", number=99, kind="jpeg")),
        owner=stranger.url,
        mime="image/jpeg",
        now=FIRST_DATE_S,
        title="Not yours",
        name="notyours.jpg",
        width=_WIDTH,
        height=_HEIGHT,
    )
    world.add_album(
        owner=stranger.url, now=FIRST_DATE_S, title="Not yours", images=[image.id]
    )
    world.add_album(
        owner=stranger.url, now=FIRST_DATE_S, title="Secret", privacy="secret"
    )
