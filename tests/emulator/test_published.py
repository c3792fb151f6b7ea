"""The list of published requests: whole, true, and what the documentation shows."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from imgurfs.emulator import published
from imgurfs.emulator.routes.table import ROUTES, Table
from tests.support.emulated import emulate, owner

LISTED = published.load()
DOCUMENT = Path(__file__).parents[2] / "docs" / "EMULATOR.md"
#: Requests in the current reference and in the list of 2013, counted in these by hand
#: and compared one by one when the list was made.
IN_REFERENCE = {"Account": 36, "Comment": 7, "Album": 14, "Gallery": 21, "Image": 7}
IN_2013 = {
    "Account": 27,
    "Album": 9,
    "Comment": 7,
    "Gallery": 15,
    "Image": 4,
    "Message": 9,
    "Notification": 3,
    "OAuth and credits": 1,
}
DONE = frozenset({"Account", "Album", "Image", "OAuth and credits"})
#: What the finished sections leave to the ones that come later.
LEFT = re.compile("gallery|comments|notifications|messages|captcha")


@pytest.mark.parametrize(
    ("source", "expected"), [("reference", IN_REFERENCE), ("2013", IN_2013)]
)
def test_no_published_request_is_missing(source: str, expected: dict[str, int]) -> None:
    """Each section has as many entries as the document it comes from."""
    found = Counter(it.section for it in LISTED if it.source == source)
    assert found == expected


def test_status_is_what_the_routes_say() -> None:
    """Supported means that a route answers every path meant, later that none does."""
    for it in LISTED:
        answered = [route is not None for route in published.routes_of(it)]
        assert answered == [it.status == "supported"] * len(answered), it


def test_every_path_finds_its_own_route() -> None:
    """No route is hidden by another: words win over values."""
    table = Table()
    for it in LISTED:
        for template, route in zip(it.templates, published.routes_of(it), strict=True):
            if route is not None:
                found = table.find(it.method, template.replace("{page}", "0"))
                assert found is not None, it
                assert found[0] is route, it


def test_every_route_is_in_the_list() -> None:
    """What is answered besides is listed too, as implied or as clients send it."""
    listed = {route for it in LISTED for route in published.routes_of(it)}
    assert [str(route) for route in ROUTES if route not in listed] == []


def test_what_is_left_of_these_sections_needs_others() -> None:
    """Whatever is later in a finished section says which section it waits for."""
    for it in LISTED:
        if it.section in DONE and it.status == "later":
            assert LEFT.search(it.note), it


async def test_later_requests_are_unknown_paths() -> None:
    """What is not there yet says so with a 404, and is no error of ours."""
    me = owner(emulate())
    for it in LISTED:
        if it.status == "later":
            path = it.templates[-1].replace("{page}", "0").replace("{user}", "me")
            assert (await me.api(it.method, path)).status == 404, it


def test_table_in_the_documentation_is_current() -> None:
    """docs/EMULATOR.md is what the command makes of it."""
    text = DOCUMENT.read_text("utf-8")
    assert published.renewed(text) == text


def test_command_renews_a_table(tmp_path: Path) -> None:
    """The command fills an empty table and refuses wrong use."""
    file = tmp_path / "page.md"
    file.write_text(f"before\n{published.BEGIN}\n{published.END}\nafter\n", "utf-8")
    assert published.main([str(file)]) == 0
    assert "`GET /3/image/{image}`" in file.read_text("utf-8")
    assert published.main([]) == published.main(["--help"]) == 2
    with pytest.raises(ValueError, match="no table"):
        published.renewed("nothing")
