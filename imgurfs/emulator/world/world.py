"""The state of the pretended Imgur: accounts, images, albums, tokens.

Plain mutable objects in memory, owned by one event loop; nothing here awaits, so no
locks. Rules that hold whatever is asked are here (an image that is deleted leaves its
albums; order is order of insertion). Who may do what, and how it is said, is not.
"""

from __future__ import annotations

import random
import string
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from imgurfs.emulator.world.content import Content

_ALPHABET = string.ascii_letters + string.digits
ID_CHARS = 7
DELETEHASH_CHARS = 15
TOKEN_CHARS = 40
PIN_CHARS = 10
PRIVACIES = frozenset({"public", "hidden", "secret"})

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
class Settings:
    """What an account's owner can switch."""

    public_images: bool = False
    album_privacy: str = "hidden"
    accepted_gallery_terms: bool = False
    messaging_enabled: bool = True
    comment_replies: bool = True
    show_mature: bool = False
    newsletter_subscribed: bool = True


@dataclass(slots=True, kw_only=True)
class Account:
    """A user. ``images`` and ``albums`` are in order of creation, oldest first.

    ``favorites`` are ids of images and albums of anybody, oldest mark first; what they
    name may be gone. ``blocked`` are urls, ``tags`` names in lower case.
    """

    id: int
    url: str
    created_s: int
    password: str = ""
    is_email_verified: bool = True
    bio: str | None = None
    avatar_name: str = "default/S"
    settings: Settings = field(default_factory=Settings)
    images: dict[str, None] = field(default_factory=dict)
    albums: dict[str, None] = field(default_factory=dict)
    favorites: dict[str, None] = field(default_factory=dict)
    blocked: dict[str, None] = field(default_factory=dict)
    tags: dict[str, None] = field(default_factory=dict)


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


@dataclass(frozen=True, slots=True)
class Grant:
    """A one-time code or PIN that a login left, to be exchanged before ``expires_at``.

    ``kind`` is the grant type that takes it.
    """

    text: str
    kind: str
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
        self.grants: dict[str, Grant] = {}
        self._image_by_deletehash: dict[str, str] = {}
        self._album_by_deletehash: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<World {len(self.images)} images, {len(self.albums)} albums>"

    # --- Accounts and tokens ---

    def reseed(self, seed: str) -> None:
        """Go on with other ids than those that were given out before."""
        self._chance = random.Random(seed)  # noqa: S311 - ids, not secrets

    def text(self, chars: int) -> str:
        """Return a new random word of letters and digits."""
        return "".join(self._chance.choices(_ALPHABET, k=chars))

    def hex(self, chars: int) -> str:
        """Return new random hexadecimal digits."""
        return f"{self._chance.getrandbits(chars * 4):0{chars}x}"

    def add_account(self, url: str, *, account_id: int, now: int) -> Account:
        """Create an account; its url must be new. The password is the url."""
        key = url.lower()
        assert key not in self.accounts
        account = Account(id=account_id, url=url, created_s=now, password=url)
        self.accounts[key] = account
        return account

    def account(self, url: str) -> Account | None:
        """Return the account of that name, whatever its case."""
        return self.accounts.get(url.lower())

    def account_by_id(self, account_id: int) -> Account | None:
        """Return the account of that number."""
        found = (it for it in self.accounts.values() if it.id == account_id)
        return next(found, None)

    def rename_account(self, account: Account, url: str) -> None:
        """Give an account another url, which must be free or its own."""
        old = account.url
        del self.accounts[old.lower()]
        assert url.lower() not in self.accounts
        account.url = url
        self.accounts[url.lower()] = account
        for image_id in account.images:
            self.images[image_id].owner = url
        for album_id in account.albums:
            self.albums[album_id].owner = url
        for text, token in self.access_tokens.items():
            if token.account == old:
                self.access_tokens[text] = replace(token, account=url)
        for code, grant in self.grants.items():
            if grant.account == old:
                self.grants[code] = replace(grant, account=url)
        for refresh, (owner, client_id) in self.refresh_tokens.items():
            if owner == old:
                self.refresh_tokens[refresh] = (url, client_id)

    def remove_account(self, account: Account) -> None:
        """Delete an account with all that is its own: things, tokens, grants."""
        for album_id in list(account.albums):
            self.remove_album(self.albums[album_id])
        for image_id in list(account.images):
            self.remove_image(self.images[image_id])
        name = account.url
        for token in [it for it in self.access_tokens.values() if it.account == name]:
            del self.access_tokens[token.text]
        for grant in [it for it in self.grants.values() if it.account == name]:
            del self.grants[grant.text]
        for refresh in [t for t, it in self.refresh_tokens.items() if it[0] == name]:
            del self.refresh_tokens[refresh]
        del self.accounts[name.lower()]

    def new_access_token(
        self, *, account: str, client_id: str, expires_at: float
    ) -> AccessToken:
        """Issue a bearer token; earlier ones stay valid."""
        token = AccessToken(self.hex(TOKEN_CHARS), account, client_id, expires_at)
        self.access_tokens[token.text] = token
        return token

    def new_refresh_token(self, *, account: str, client_id: str) -> str:
        """Issue a refresh token; earlier ones stay valid."""
        text = self.hex(TOKEN_CHARS)
        self.refresh_tokens[text] = (account, client_id)
        return text

    def new_grant(
        self, *, kind: str, account: str, client_id: str, expires_at: float
    ) -> Grant:
        """Issue a code (40 digits) or a PIN (10), valid once."""
        chars = PIN_CHARS if kind == "pin" else TOKEN_CHARS
        grant = Grant(self.hex(chars), kind, account, client_id, expires_at)
        self.grants[grant.text] = grant
        return grant

    def revoke_access_tokens(self, *, account: str, client_id: str) -> None:
        """End every access token that a client has for an account."""
        ended = (account, client_id)
        for token in list(self.access_tokens.values()):
            if (token.account, token.client_id) == ended:
                del self.access_tokens[token.text]

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
        # Only these albums are looked up, so that only they count as changed where
        # lookups are watched.
        concerned = [k for k, it in dict.items(self.albums) if image.id in it.images]
        for album_id in concerned:
            del self.albums[album_id].images[image.id]

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
