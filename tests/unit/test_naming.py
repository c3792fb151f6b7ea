"""Single cases of the naming rules, as a reader would look them up."""

from __future__ import annotations

import itertools

import pytest

from imgurfs.tree import naming


@pytest.mark.parametrize(
    ("title", "name", "mime_type", "expected"),
    [
        ("Beach", "IMG_1.jpg", "image/jpeg", "Beach.jpg"),
        ("", "IMG_1.jpg", "image/jpeg", "IMG_1.jpg"),
        ("", "", "image/jpeg", "abc1234.jpg"),
        ("  ", "IMG_1.jpg", "image/jpeg", "IMG_1.jpg"),
        ("holiday.JPEG", "", "image/jpeg", "holiday.JPEG"),
        ("shot.png", "", "image/jpeg", "shot.jpg"),
        ("v1.0", "", "image/png", "v1.0.png"),
        ("Dr. Who", "", "video/mp4", "Dr. Who.mp4"),
        (".jpg", "", "image/jpeg", ".jpg.jpg"),
        ("..", "", "image/gif", "．．.gif"),
        ("../../etc/passwd", "", "image/gif", "..／..／etc／passwd.gif"),
        ("two\nlines", "", "image/gif", "two␊lines.gif"),
        ("\u202egpj.exe", "", "image/gif", "gpj.exe.gif"),
        ("@all", "", "image/gif", "＠all.gif"),
        ("odd", "", "image/x-portable-graymap", "odd"),
        ("odd", "", "image/xyz; q=1", "odd.xyz"),
        ("odd.bin", "", "", "odd.bin"),
        ("a\ud800b", "", "image/png", "a\ufffdb.png"),
        ("e\u0301", "", "image/png", "é.png"),
    ],
)
def test_image_names(title: str, name: str, mime_type: str, expected: str) -> None:
    """Title, else uploaded name, else id; the extension is the real type's."""
    found = naming.image_name(
        title=title, name=name, image_id="abc1234", mime_type=mime_type
    )
    assert found == expected


def test_a_marker_in_the_uploaded_name_is_not_shown() -> None:
    """The idempotency key is ours, not part of what the user called the file."""
    from imgurfs.marker import make_marker, name_with_marker

    uploaded = name_with_marker("cat.jpg", make_marker(b"c" * 32, b"d" * 10))
    found = naming.image_name(
        title="", name=uploaded, image_id="x", mime_type="image/jpeg"
    )
    assert found == "cat.jpg"


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Holiday", "Holiday"),
        ("", "Untitled Ab3xY7q"),
        (" \n ", "␊"),
        (".", "．"),
        (".imgurfs", "．imgurfs"),
        ("@gallery", "＠gallery"),
        ("a/b", "a／b"),
        ("v1.0", "v1.0"),
    ],
)
def test_album_names(title: str, expected: str) -> None:
    """The title, made harmless; "Untitled" and the id when there is none."""
    assert naming.album_name(title=title, album_id="Ab3xY7q") == expected


def test_candidates_number_before_the_extension_of_files_only() -> None:
    """The id goes before a file's extension and after a directory's whole name."""
    files = naming.candidates("a.jpg", "id1", is_directory=False)
    assert list(itertools.islice(files, 3)) == ["a.jpg", "a (id1).jpg", "a (id1 2).jpg"]
    directories = naming.candidates("v1.0", "id1", is_directory=True)
    assert list(itertools.islice(directories, 2)) == ["v1.0", "v1.0 (id1)"]


def test_long_names_are_cut_between_characters() -> None:
    """At most 255 bytes, no half character, the extension whole."""
    name = naming.image_name(
        title="é" * 500, name="", image_id="x", mime_type="image/jpeg"
    )
    assert name == "é" * 125 + ".jpg"
