"""The state of the pretended Imgur: accounts, images, albums, tokens.

Plain mutable objects in memory, owned by one event loop; nothing here awaits, so no
locks. Rules that hold whatever is asked are here (an image that is deleted leaves its
albums; order is order of insertion). Who may do what, and how it is said, is not.
"""

from __future__ import annotations

import random
import string
from collections.abc import Iterable
from dataclasses import dataclass, field

from imgurfs.emulator.content import Content

_ALPHABET = string.ascii_letters + string.digits
ID_CHARS = 7
DELETEHASH_CHARS = 15
TOKEN_CHARS = 40

EXTENSIONS = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/gif": "gif",
    "image/tiff": "tiff",
    "video/mp4": "mp4",
    "video/webm": "webm",
    "video/quicktime": "mov",
    "video/x-matroska": "mkv",
    "video/x-msvideo": "avi",
    "video/mpeg": "mpg",
}


@dataclass(slots=True, kw_only=True)
class Account:
    """A user. ``images`` and ``albums`` are in order of creation, oldest first."""

    id: int
    url: str
    created_s: int
    bio: str | None = None
    images: dict[str, None] = field(default_factory=dict)
    albums: dict[str, None] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Image:
    """One picture. ``owner`` is an account's url, "" when uploaded anonymously."""

    id: str
    deletehash: str
    owner: str
    content: Content
    type: str
    datetime_s: int
    title: str | None = None
    description: str | None = None
    name: str = ""
    width: int = 0
    height: int = 0
    animated: bool = False
    views: int = 0
    favorite: bool = False

    @property
    def extension(self) -> str:
        """The ending of its link, without a dot."""
        return EXTENSIONS[self.type]

    @property
    def is_video(self) -> bool:
        """Whether the bytes are a film rather than a picture."""
        return self.type.startswith("video/")


@dataclass(slots=True, kw_only=True)
class Album:
    """One album. ``images`` is an ordered set of image ids."""

    id: str
    deletehash: str
    owner: str
    datetime_s: int
    title: str | None = None
    description: str | None = None
    privacy: str = "hidden"
    layout: str = "blog"
    cover: str | None = None
    views: int = 0
    favorite: bool = False
    order: int = 0
    images: dict[str, None] = field(default_factory=dict)

    @property
    def shown_cover(self) -> str | None:
        """The cover that was chosen, else the first image, else None."""
        if self.cover in self.images:
            return self.cover
        return next(iter(self.images), None)


@dataclass(frozen=True, slots=True)
class AccessToken:
    """What a bearer token stands for, until ``expires_at`` (epoch)."""

    text: str
    account: str
    client_id: str
    expires_at: float


class World:
    """Everything that exists, and the deterministic source of new ids."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)  # noqa: S311 - ids, not secrets
        self.accounts: dict[str, Account] = {}
        self.images: dict[str, Image] = {}
        self.albums: dict[str, Album] = {}
        self.clients: dict[str, str] = {}
        self.access_tokens: dict[str, AccessToken] = {}
        #: refresh token -> (account url, client id)
        self.refresh_tokens: dict[str, tuple[str, str]] = {}
        self._image_by_deletehash: dict[str, str] = {}
        self._album_by_deletehash: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<World {len(self.images)} images, {len(self.albums)} albums>"

    # --- Accounts and tokens ---

    def text(self, chars: int) -> str:
        """Return a new random word of letters and digits."""
        return "".join(self._chance.choices(_ALPHABET, k=chars))

    def hex(self, chars: int) -> str:
        """Return new random hexadecimal digits."""
        return f"{self._chance.getrandbits(chars * 4):0{chars}x}"

    def add_account(self, url: str, *, account_id: int, now: int) -> Account:
        """Create an account; its url must be new."""
        key = url.lower()
        assert key not in self.accounts
        account = Account(id=account_id, url=url, created_s=now)
        self.accounts[key] = account
        return account

    def account(self, url: str) -> Account | None:
        """Return the account of that name, whatever its case."""
        return self.accounts.get(url.lower())

    def new_access_token(
        self, *, account: str, client_id: str, expires_at: float
    ) -> AccessToken:
        """Issue a bearer token; earlier ones stay valid."""
        token = AccessToken(self.hex(TOKEN_CHARS), account, client_id, expires_at)
        self.access_tokens[token.text] = token
        return token

    # --- Images ---

    def _new_id(self) -> str:
        while True:
            candidate = self.text(ID_CHARS)
            if candidate not in self.images and candidate not in self.albums:
                return candidate

    def add_image(
        self,
        content: Content,
        *,
        owner: str,
        mime: str,
        now: int,
        title: str | None = None,
        description: str | None = None,
        name: str = "",
        width: int = 0,
        height: int = 0,
        animated: bool = False,
    ) -> Image:
        """Create an image with a new id; the same bytes twice are two images."""
        assert mime in EXTENSIONS
        image = Image(
            id=self._new_id(),
            deletehash=self.text(DELETEHASH_CHARS),
            owner=owner,
            content=content,
            type=mime,
            datetime_s=now,
            title=title,
            description=description,
            name=name,
            width=width,
            height=height,
            animated=animated,
        )
        self.images[image.id] = image
        self._image_by_deletehash[image.deletehash] = image.id
        account = self.account(owner)
        if account is not None:
            account.images[image.id] = None
        return image

    def image_by_deletehash(self, deletehash: str) -> Image | None:
        """Return the image this deletehash may change."""
        return self.images.get(self._image_by_deletehash.get(deletehash, ""))

    def remove_image(self, image: Image) -> None:
        """Delete an image everywhere."""
        del self.images[image.id]
        del self._image_by_deletehash[image.deletehash]
        account = self.account(image.owner)
        if account is not None:
            account.images.pop(image.id, None)
        for album in self.albums.values():
            album.images.pop(image.id, None)

    # --- Albums ---

    def add_album(
        self,
        *,
        owner: str,
        now: int,
        title: str | None = None,
        description: str | None = None,
        privacy: str = "hidden",
        images: Iterable[str] = (),
    ) -> Album:
        """Create an album with a new id."""
        album = Album(
            id=self._new_id(),
            deletehash=self.text(DELETEHASH_CHARS),
            owner=owner,
            datetime_s=now,
            title=title,
            description=description,
            privacy=privacy,
            images=dict.fromkeys(images),
        )
        self.albums[album.id] = album
        self._album_by_deletehash[album.deletehash] = album.id
        account = self.account(owner)
        if account is not None:
            account.albums[album.id] = None
        return album

    def album_by_deletehash(self, deletehash: str) -> Album | None:
        """Return the album this deletehash may change."""
        return self.albums.get(self._album_by_deletehash.get(deletehash, ""))

    def remove_album(self, album: Album) -> None:
        """Delete an album; its images stay."""
        del self.albums[album.id]
        del self._album_by_deletehash[album.deletehash]
        account = self.account(album.owner)
        if account is not None:
            account.albums.pop(album.id, None)
