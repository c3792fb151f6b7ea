"""Builds Imgur's requests as plain values. Sans-I/O: no httpx, no trio, no clock.

One function per endpoint the program uses returns a :class:`Request`: method, path,
query, form fields, and the :class:`~imgurfs.model.RequestClass` the budget needs.
``api.parse`` reads the answers, ``api.refusals`` the refusals; ``api.client`` sends.
Identifiers go into paths only after :func:`checked_id`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote, unquote, urlencode

from imgurfs import limits
from imgurfs.errors import RejectedError
from imgurfs.model import AlbumId, ImageId, Lane, RequestClass, RequestKind

#: Ids and deletehashes. Imgur's are 5, 7 or 15 letters and digits; a little slack.
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ROUTE: Final = re.compile(r"/[!-~]*")
_UPLOAD_ROUTE: Final = re.compile(r"/3/(image|upload)(\.json)?/?")
_VIDEO_SUFFIXES: Final = (
    ".mp4",
    ".m4v",
    ".webm",
    ".mkv",
    ".mov",
    ".flv",
    ".avi",
    ".wmv",
    ".mpg",
    ".mpeg",
)


@dataclass(frozen=True, slots=True)
class Request:
    """One request to the API. ``path`` begins with "/"; ``fields`` are the form.

    ``is_typed``: a person chose the path, so that a 404 says that it names nothing.
    """

    method: str
    path: str
    cost: RequestClass
    query: tuple[tuple[str, str], ...] = ()
    fields: tuple[tuple[str, str], ...] = ()
    is_typed: bool = False

    @property
    def target(self) -> str:
        """The path with its query, as it goes on the wire."""
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path

    @property
    def body(self) -> bytes:
        """The urlencoded form; empty for a request without fields."""
        return urlencode(self.fields).encode("ascii")

    @property
    def is_change(self) -> bool:
        """Whether it may have an effect, so that an unknown outcome matters."""
        return self.method not in ("GET", "HEAD")

    @property
    def is_upload(self) -> bool:
        """Whether it sends a picture."""
        return self.cost.kind is RequestKind.UPLOAD


def checked_id(text: str) -> str:
    """Return ``text`` if it can be an id; raise RejectedError otherwise.

    Ids come from answers and from users; one with a slash or a dot would name another
    endpoint.
    """
    if not _ID.fullmatch(text):
        raise RejectedError(f"{text[:40]!r} is not an Imgur id")
    return text


def is_id(text: str) -> bool:
    """Whether ``text`` can be an id."""
    return _ID.fullmatch(text) is not None


def _read(path: str, lane: Lane, query: tuple[tuple[str, str], ...] = ()) -> Request:
    return Request("GET", path, RequestClass(RequestKind.READ, lane), query)


def _change(
    method: str, path: str, lane: Lane, fields: Iterable[tuple[str, str]] = ()
) -> Request:
    cost = RequestClass(RequestKind.CHANGE, lane, is_post=method == "POST")
    return Request(method, path, cost, fields=tuple(fields))


def _ids(images: Sequence[ImageId]) -> list[tuple[str, str]]:
    return [("ids[]", checked_id(image)) for image in images]


def _texts(**texts: str | None) -> list[tuple[str, str]]:
    """Return the fields that are given; lone surrogates become U+FFFD."""
    return [(key, plain(text)) for key, text in texts.items() if text is not None]


def plain(text: str) -> str:
    """Return a text as it can be sent: lone surrogates become U+FFFD."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


# --- Reading ------------------------------------------------------------------


def account(lane: Lane) -> Request:
    """Build the request for whose token this is."""
    return _read("/3/account/me", lane)


def credit() -> Request:
    """Build the request for the remaining credits."""
    return _read("/3/credits", Lane.CONTROL)


def albums_page(page: int, lane: Lane) -> Request:
    """Build the request for one page of the account's albums; pages begin at 0."""
    return _read(f"/3/account/me/albums/{page:d}", lane, _PER_PAGE)


def images_page(page: int, lane: Lane) -> Request:
    """Build the request for one page of the account's images; pages begin at 0."""
    return _read(f"/3/account/me/images/{page:d}", lane, _PER_PAGE)


def images_count(lane: Lane) -> Request:
    """Build the request for the number of the account's images."""
    return _read("/3/account/me/images/count", lane)


def album(album_id: AlbumId, lane: Lane) -> Request:
    """Build the request for one album with all its images."""
    return _read(f"/3/album/{checked_id(album_id)}", lane)


def image(image_id: ImageId, lane: Lane) -> Request:
    """Build the request for one image."""
    return _read(f"/3/image/{checked_id(image_id)}", lane)


_PER_PAGE: Final = (("perPage", str(limits.PAGE_SIZE)),)


# --- Changing -----------------------------------------------------------------


def create_album(*, title: str, images: Sequence[ImageId], lane: Lane) -> Request:
    """Build the request that makes an album. Not idempotent."""
    fields = [*_texts(title=title), *_ids(images)]
    return _change("POST", "/3/album", lane, fields)


def add_to_album(album_id: AlbumId, images: Sequence[ImageId], lane: Lane) -> Request:
    """Build the request that adds images to an album. Idempotent."""
    path = f"/3/album/{checked_id(album_id)}/add"
    return _change("POST", path, lane, _ids(images))


def remove_from_album(
    album_id: AlbumId, images: Sequence[ImageId], lane: Lane
) -> Request:
    """Build the request that takes images out of an album. Idempotent."""
    path = f"/3/album/{checked_id(album_id)}/remove_images"
    return _change("POST", path, lane, _ids(images))


def set_album(album_id: AlbumId, images: Sequence[ImageId], lane: Lane) -> Request:
    """Build the request that replaces an album's images by exactly these."""
    return _change("POST", f"/3/album/{checked_id(album_id)}", lane, _ids(images))


def update_album(
    album_id: AlbumId,
    *,
    title: str | None,
    description: str | None,
    cover: ImageId | None,
    lane: Lane,
) -> Request:
    """Build the request that changes an album's texts or cover; None = leave it."""
    fields = _texts(title=title, description=description)
    if cover is not None:
        fields.append(("cover", checked_id(cover)))
    return _change("PUT", f"/3/album/{checked_id(album_id)}", lane, fields)


def delete_album(album_id: AlbumId, lane: Lane) -> Request:
    """Build the request that deletes an album; its images stay."""
    return _change("DELETE", f"/3/album/{checked_id(album_id)}", lane)


def update_image(
    image_id: ImageId, *, title: str | None, description: str | None, lane: Lane
) -> Request:
    """Build the request that changes an image's texts; None = leave it."""
    fields = _texts(title=title, description=description)
    return _change("POST", f"/3/image/{checked_id(image_id)}", lane, fields)


def delete_image(image_id: ImageId, lane: Lane) -> Request:
    """Build the request that deletes an image for good."""
    return _change("DELETE", f"/3/image/{checked_id(image_id)}", lane)


def any_call(
    method: str, route: str, *, fields: Iterable[tuple[str, str]], lane: Lane
) -> Request:
    """Build a request to any endpoint; fields of a GET go into the query.

    A POST to where pictures are uploaded is an upload, whatever its fields. Raises
    RejectedError for a route that is not an absolute path, or goes up by ``..``.
    """
    method = method.upper()
    path, mark, query = route.partition("?")
    plain = unquote(path)
    is_path = _ROUTE.fullmatch(route) and not route.startswith("//")
    if not is_path or "#" in route or {".", ".."} & set(plain.split("/")):
        raise RejectedError(f"{route[:80]!r} is not a path of the API")
    if method not in ("GET", "POST", "PUT", "DELETE"):
        raise RejectedError(f"{method[:20]!r} is not a method of the API")
    pairs = tuple(fields)
    if method == "GET":
        if pairs and mark:
            path, pairs = f"{path}?{query}&{urlencode(pairs)}", ()
        elif mark:
            path = route
        return replace(_read(path, lane, pairs), is_typed=True)
    request = replace(_change(method, route, lane, pairs), is_typed=True)
    if method == "POST" and _UPLOAD_ROUTE.fullmatch(plain.lower()):
        cost = replace(request.cost, kind=RequestKind.UPLOAD)
        return replace(request, cost=cost)
    return request


def by_deletehashes(request: Request, key: Callable[[str], str]) -> Request:
    """Return a change of ours that names album and images by their deletehashes.

    ``key`` returns the deletehash of an id; what it raises is raised. An upload is
    left alone: its body is made elsewhere.
    """
    if request.is_upload:
        return request
    top, version, kind, *item = request.path.split("/")
    if item:
        item[0] = checked_id(key(item[0]))
    fields = tuple(
        ("deletehashes[]", checked_id(key(text))) if name == "ids[]" else (name, text)
        for name, text in request.fields
    )
    path = "/".join((top, version, kind, *item))
    return replace(request, path=path, fields=fields)


# --- Uploading ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Multipart:
    """An upload's body around the file: ``head``, then the bytes, then ``tail``."""

    content_type: str
    head: bytes
    tail: bytes

    def length(self, size_bytes: int) -> int:
        """Return the Content-Length for a file of this size."""
        return len(self.head) + size_bytes + len(self.tail)


def upload(
    *, name: str, album_id: AlbumId | None, title: str, boundary: str, lane: Lane
) -> tuple[Request, Multipart]:
    """Build an upload of a file named ``name`` (marker included).

    ``boundary`` must be unguessable, so that no file can end its own part. The name
    travels as a form field: quotes, backslashes and line ends survive there, while
    the multipart file name is altered by servers (docs/IMGUR.md, Uploading).
    """
    fields = [("type", "file"), *_texts(name=name)]
    if title:
        fields += _texts(title=title)
    if album_id is not None:
        fields.append(("album", checked_id(album_id)))
    is_video = name.lower().endswith(_VIDEO_SUFFIXES)
    cost = RequestClass(RequestKind.UPLOAD, lane, is_post=True)
    request = Request("POST", "/3/upload", cost, fields=tuple(fields))
    part = "video" if is_video else "image"
    return request, multipart(fields, part=part, boundary=boundary)


def multipart(
    fields: Iterable[tuple[str, str]], *, part: str, boundary: str
) -> Multipart:
    """Return the multipart/form-data frame around one file part."""
    head = b"".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{quote(key)}"\r\n\r\n'
        f"{text}\r\n".encode()
        for key, text in fields
    )
    head += (
        f'--{boundary}\r\nContent-Disposition: form-data; name="{part}";'
        f' filename="{part}"\r\nContent-Type: application/octet-stream\r\n\r\n'
    ).encode("ascii")
    return Multipart(
        content_type=f"multipart/form-data; boundary={boundary}",
        head=head,
        tail=f"\r\n--{boundary}--\r\n".encode("ascii"),
    )


# --- Tokens -------------------------------------------------------------------


def exchange(*, client_id: str, client_secret: str, refresh_token: str) -> Request:
    """Build the request for a new access token. Costs no credits, but is a POST."""
    fields = (
        ("refresh_token", refresh_token),
        ("client_id", client_id),
        ("client_secret", client_secret),
        ("grant_type", "refresh_token"),
    )
    cost = RequestClass(RequestKind.FREE, Lane.CONTROL, is_post=True)
    return Request("POST", "/oauth2/token", cost, fields=fields)
