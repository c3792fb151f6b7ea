"""The marker inside an uploaded name."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from imgurfs.marker import (
    DEVICE_ID_BYTES,
    make_marker,
    name_with_marker,
    parse_marker,
    strip_marker,
)

DEVICE = bytes(range(DEVICE_ID_BYTES))
names = st.binary(min_size=1, max_size=255).map(
    lambda b: (
        b.replace(b"/", b"_").replace(b"\0", b"_").decode(errors="surrogateescape")
    )
)


@given(name=names, digest=st.binary(min_size=32, max_size=32))
def test_every_name_carries_its_marker(name: str, digest: bytes) -> None:
    """Whatever a file is called, its uploaded name gives the marker back."""
    marker = make_marker(digest, DEVICE)
    uploaded = name_with_marker(name, marker)
    assert parse_marker(uploaded) == marker
    assert len(uploaded.encode()) <= 100 + 1 + 16 + 1 + 10 * 4


@given(name=st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1))
def test_marker_is_stripped(name: str) -> None:
    """Stripping gives the user's name back, up to the length that is kept."""
    file_name = name[:100] + ".jpg"
    marker = make_marker(bytes(32), DEVICE)
    assert strip_marker(name_with_marker(file_name, marker)) == file_name


def test_users_own_tilde_is_no_marker() -> None:
    """A name that looks like a marker without the check character is left alone."""
    marker = str(make_marker(bytes(32), DEVICE))
    wrong = "a" if marker[-1] != "a" else "b"
    name = f"x~{marker[:-1]}{wrong}.jpg"
    assert parse_marker(name) is None
    assert strip_marker(name) == name
    assert strip_marker("x~y.jpg") == "x~y.jpg"


def test_parts_say_content_and_device() -> None:
    """Equal content from two machines shares the content part only."""
    one = make_marker(bytes(32), DEVICE)
    two = make_marker(bytes(32), DEVICE[::-1])
    assert one.content == two.content
    assert one.device != two.device
