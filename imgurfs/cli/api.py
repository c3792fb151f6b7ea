"""``imgurfs api``: any endpoint of Imgur, with the account's token and budget.

A command like ``gh api``: it knows no endpoint, only how fields become a form, how
listings are paged, and which calls nobody can take back. Refresh, budget and errors
are those of every other call (``api.client``, ``metered``).
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

import click

from imgurfs import limits
from imgurfs.cli.context import Context, pass_context, run_trio
from imgurfs.errors import OutageError, RejectedError, RemoteError, UsageError

if TYPE_CHECKING:
    from imgurfs.api.client import FilePart
    from imgurfs.api.wire import Request
    from imgurfs.assembly import Services

#: The fields that hold a picture; ``@FILE`` of any other field is its text.
_FILE_FIELDS = ("image", "video")
_TEXT_BYTES_MAX = limits.MIB
#: Where the number of the page is put, when the route names the place.
_PAGE = "{page}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What was asked for on the command line, understood."""

    method: str
    route: str
    fields: tuple[tuple[str, str], ...]
    file: FilePart | None


_EXAMPLES = """\b
imgurfs api GET account/me
imgurfs api GET account/me/images --paginate
imgurfs api POST image -F image=@cat.jpg -F title=Cat
imgurfs api POST album/abc1234/add -F ids[]=xyz9876 -F ids[]=uvw5432
"""


@click.command(epilog=_EXAMPLES)
@click.argument(
    "method",
    metavar="METHOD",
    type=click.Choice(["GET", "POST", "PUT", "DELETE"], case_sensitive=False),
)
@click.argument("route", metavar="ROUTE")
@click.option(
    "-F",
    "--field",
    "typed",
    multiple=True,
    metavar="NAME=VALUE",
    help="A field; @FILE as the value sends a file (image, video) or its text.",
)
@click.option(
    "-f",
    "--raw-field",
    "raw",
    multiple=True,
    metavar="NAME=VALUE",
    help="A field whose value is taken as it is, @ included.",
)
@click.option(
    "--paginate",
    is_flag=True,
    help="Read all pages of a listing and print them as one.",
)
@click.option(
    "--yes", is_flag=True, help="Do what cannot be undone: DELETE under /account."
)
@click.option("--json", "as_json", is_flag=True, help="One line, even on a terminal.")
@pass_context
def api(
    context: Context,
    *,
    method: str,
    route: str,
    typed: Sequence[str],
    raw: Sequence[str],
    paginate: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Call any endpoint of Imgur as the account, and print its answer as JSON.

    ROUTE is a path like /3/account/me; without the first slash it is below /3/. What
    is printed is the whole answer, {"data": ..., "success": true, "status": 200}; the
    pages of --paginate come as one such answer. The fields of a GET go into the query.
    """
    question = understand(method, route, typed=typed, raw=raw)
    if paginate and question.method != "GET":
        raise UsageError("--paginate reads a listing: it needs GET")
    if is_irrevocable(question.method, question.route) and not yes:
        raise UsageError(
            f"{question.method} {question.route} cannot be undone; nothing was sent",
            hint="add --yes if you mean it",
        )
    is_pretty = sys.stdout.isatty() and not as_json
    if paginate:
        run_trio(_print_pages, context, question, is_pretty)
    else:
        _print(run_trio(_ask, context, question), is_pretty=is_pretty)


# --- Understanding the command line -------------------------------------------


def understand(
    method: str, route: str, *, typed: Sequence[str], raw: Sequence[str]
) -> Question:
    """Return what is asked for. Raises UsageError; reads the files that are named."""
    path = _route(route)
    fields: list[tuple[str, str]] = []
    file: FilePart | None = None
    for text in typed:
        name, value = _pair(text)
        if not value.startswith("@"):
            fields.append((name, value))
        elif name not in _FILE_FIELDS:
            fields.append((name, _text_of(Path(value[1:]))))
        elif file is None:
            file = _file(name, Path(value[1:]))
        else:
            raise UsageError("only one file can be sent at a time")
    fields += [_pair(text) for text in raw]
    if any(name == "_method" for name, _ in fields) or "_method=" in unquote(path):
        raise UsageError("METHOD is the place for the method, not the field _method")
    request = _checked(method, path, fields)
    if file is not None and not request.is_upload:
        raise UsageError(
            f"{request.method} {route} does not take a file",
            hint="pictures go to: imgurfs api POST image -F image=@FILE",
        )
    return Question(method=request.method, route=path, fields=tuple(fields), file=file)


def _checked(method: str, path: str, fields: list[tuple[str, str]]) -> Request:
    from imgurfs.api import wire
    from imgurfs.model import Lane

    try:
        return wire.any_call(method, path, fields=fields, lane=Lane.INTERACTIVE)
    except RejectedError as error:
        raise UsageError(error.message) from error


def _route(text: str) -> str:
    if "://" in text.partition("?")[0]:
        raise UsageError(f"{text!r} is an address; ROUTE is the path in it")
    text = _printable(text)
    if not text.startswith("/"):
        text = f"/{text}" if text.startswith("3/") else f"/3/{text}"
    if unquote(text).lower().startswith("/oauth2/"):
        raise UsageError(
            "tokens are not for this command: it would print them",
            hint="imgurfs login stores a token; it is refreshed by itself",
        )
    # What is percent-encoded already stays as it is.
    return quote(text, safe="/?%&=+,:;@!$'()*~[]{}#")


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"{text!r} is not NAME=VALUE")
    return _printable(name), _printable(value)


def _printable(text: str) -> str:
    """Return text without the lone surrogates of an argument that is not UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _file(name: str, path: Path) -> FilePart:
    from imgurfs.api.client import FilePart

    try:
        if not path.is_file():
            raise UsageError(f"{path} is not a file")
        size_bytes = path.stat().st_size
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    return FilePart(name=name, path=path, size_bytes=size_bytes)


def _text_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_TEXT_BYTES_MAX + 1)
        if len(data) > _TEXT_BYTES_MAX:
            raise UsageError(f"{path} is longer than {_TEXT_BYTES_MAX} bytes")
        return data.decode()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except UnicodeError as error:
        raise UsageError(f"{path} is not a text in UTF-8") from error


def is_irrevocable(method: str, route: str) -> bool:
    """Whether a call deletes an account, or something by way of it.

    However the path is written: case, doubled slashes and percent signs included.
    """
    path, decoded = route.partition("?")[0], ""
    while path != decoded:
        path, decoded = unquote(path), path
    words = [re.sub(r"\.\w+$", "", word) for word in path.casefold().split("/")]
    is_deleting = method == "DELETE" or (method != "GET" and "delete" in words)
    return "account" in words and is_deleting


# --- Asking -------------------------------------------------------------------


async def _ask(context: Context, question: Question) -> object:
    from imgurfs.assembly import open_account

    async with open_account(context.load_config(), context.account) as services:
        return await _call(services, question)


async def _call(services: Services, question: Question) -> object:
    from imgurfs.model import Lane

    fields = question.fields
    # Strangers may read the name, so "neutral" is heeded here as well.
    is_telling = services.account_config.names == "keep"
    if question.file is not None and is_telling and "name" not in dict(fields):
        fields = (*fields, ("name", _printable(question.file.path.name)))
    return await services.api.call(
        question.method,
        question.route,
        fields=fields,
        file=question.file,
        lane=Lane.INTERACTIVE,
    )


async def _print_pages(context: Context, question: Question, is_pretty: bool) -> None:
    from imgurfs.assembly import open_account

    items: list[object] = []
    template, fields, first = page_places(question.route, question.fields)
    async with open_account(context.load_config(), context.account) as services:

        async def read(page: int) -> object:
            number = str(page)
            in_query = () if _PAGE in template else (("page", number),)
            one = Question(
                method="GET",
                route=template.replace(_PAGE, number),
                fields=(*fields, *in_query),
                file=None,
            )
            return _data(await _call(services, one))

        try:
            await walk(read, first=first, items=items)
        except RemoteError as error:
            if items:
                # What was paid for is not thrown away; the exit code says the rest.
                _print(_answer(items), is_pretty=is_pretty)
                error.message += f" (only the {len(items)} items before it are printed)"
            raise
    _print(_answer(items), is_pretty=is_pretty)


def _data(answer: object) -> object:
    """Return what an answer is about."""
    return answer.get("data") if isinstance(answer, dict) else answer


def _answer(items: list[object]) -> dict[str, object]:
    """Return the pages of a listing as the one answer they would have been."""
    return {"data": items, "success": True, "status": 200}


def page_places(
    route: str, fields: tuple[tuple[str, str], ...]
) -> tuple[str, tuple[tuple[str, str], ...], int]:
    """Return the route with ``{page}`` where the page goes, the fields, the first page.

    A number at the end of the path is the page, as in Imgur's documents; otherwise
    the page goes into the query. Raises UsageError for a page that is no number.
    """
    named = [value for name, value in fields if name == "page"]
    rest = tuple(pair for pair in fields if pair[0] != "page")
    if not any(name == "perPage" for name, _ in rest):
        rest = (*rest, ("perPage", str(limits.PAGE_SIZE)))
    path, mark, query = route.partition("?")
    number = re.search(r"(?<=/)[0-9]{1,6}(?=(\.json)?/?$)", path)
    if number is not None and _PAGE not in path:
        path = f"{path[: number.start()]}{_PAGE}{path[number.end() :]}"
    first = named[-1] if named else number[0] if number is not None else "0"
    if not re.fullmatch(r"[0-9]{1,6}", first):
        raise UsageError(f"{first!r} is not the number of a page")
    return path + mark + query, rest, int(first)


async def walk(
    read: Callable[[int], Awaitable[object]], *, first: int, items: list[object]
) -> None:
    """Append the items of every page to ``items``, up to the empty page.

    A short page is not the last one. What was read before an error stays in
    ``items``. Raises UsageError for what is no listing, or none with pages.
    """
    previous: object = None
    for page in range(first, first + limits.PAGES_MAX):
        found = await read(page)
        if not isinstance(found, list):
            raise UsageError("the answer is not a list: leave --paginate out")
        if not found:
            return
        if found == previous:
            raise UsageError(
                f"page {page} is page {page - 1} again: this listing has no pages",
                hint="leave --paginate out, or write {page} where the page belongs",
            )
        items += found
        previous = found
    raise OutageError(f"the listing did not end within {limits.PAGES_MAX} pages")


# --- Showing ------------------------------------------------------------------


def _print(value: object, *, is_pretty: bool) -> None:
    if not is_pretty:
        print(json.dumps(value, separators=(",", ":")))
        return
    text = json.dumps(value, indent=2, ensure_ascii=False)
    # Titles are other people's: none of them may steer the terminal.
    print(
        "".join(
            char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1]
            for char in text
        )
    )
