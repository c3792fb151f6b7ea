"""The list of all published requests, and the table of them in the documentation.

The list is data, in ``published.toml``; which of them are answered is asked of the
routes. Not used while serving. ``python -m imgurfs.emulator.published FILE`` renews the
table between the two marks of a file.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

from imgurfs.emulator.routes.table import ROUTES, Route

BEGIN: Final = "<!-- endpoints: made by python -m imgurfs.emulator.published -->"
END: Final = "<!-- end of endpoints -->"
SECTIONS: Final = (
    "OAuth and credits",
    "Account",
    "Album",
    "Image",
    "Comment",
    "Gallery",
    "Message",
    "Notification",
)
_SOURCES: Final = {
    "reference": "yes",
    "2013": "2013",
    "general": "in text",
    "implied": "in text",
    "clients": "no",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One entry of a document; the keys are explained in ``published.toml``."""

    request: str
    section: str
    source: str
    status: str
    note: str = ""

    def __post_init__(self) -> None:
        assert self.section in SECTIONS, self
        assert self.source in _SOURCES, self
        assert self.status in ("supported", "later"), self

    @property
    def method(self) -> str:
        """The HTTP method."""
        return self.request.split(" ")[0]

    @property
    def templates(self) -> tuple[str, ...]:
        """Every path that is meant: without, and with more and more optional parts."""
        parts = self.request.split(" ")[1].replace("]", "").split("[")
        return tuple("".join(parts[:count]) for count in range(1, len(parts) + 1))


def load() -> tuple[Endpoint, ...]:
    """Return the list in its order."""
    text = resources.files(__package__).joinpath("published.toml").read_text("utf-8")
    return tuple(Endpoint(**entry) for entry in tomllib.loads(text)["endpoint"])


def nameless(template: str) -> str:
    """Return a template without the names of its values, to compare two of them."""
    return re.sub(r"\{\w+\}", "{}", template)


def routes_of(endpoint: Endpoint) -> Iterator[Route | None]:
    """Yield for each path of an endpoint the route that answers it, if there is one."""
    known = {(it.method, nameless(it.template)): it for it in ROUTES}
    for template in endpoint.templates:
        yield known.get((endpoint.method, nameless(template)))


def table(endpoints: Iterable[Endpoint]) -> str:
    """Return the Markdown table: one line a request, with what documents say of it."""
    merged: dict[tuple[str, str], list[Endpoint]] = {}
    for it in endpoints:
        merged.setdefault((it.section, nameless(it.request)), []).append(it)
    lines = ["| endpoint | published | here | notes |", "|---|---|---|---|"]
    for section in SECTIONS:
        lines.append(f"| **{section}** | | | |")
        for (heading, _), group in merged.items():
            if heading == section:
                lines.append(_line(group))
    return "\n".join(lines)


def _line(group: list[Endpoint]) -> str:
    sources = ", ".join(dict.fromkeys(_SOURCES[it.source] for it in group))
    notes = "; ".join(dict.fromkeys(it.note for it in group if it.note))
    is_answered = all(routes_of(group[0]))
    here = "supported" if is_answered else "later"
    return f"| `{group[0].request}` | {sources} | {here} | {notes} |"


def renewed(document: str) -> str:
    """Return the document with a new table. Raises ValueError without the marks."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no table between {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n{table(load())}\n{END}{after}"


def main(arguments: list[str]) -> int:
    """Renew the table in the file named; exit code 2 for wrong use."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        sys.stderr.write(f"{__doc__}\nusage: published FILE (docs/EMULATOR.md)\n")
        return 2
    path = Path(arguments[0])
    path.write_text(renewed(path.read_text("utf-8")), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
