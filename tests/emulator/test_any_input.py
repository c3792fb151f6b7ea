"""Requests put together at random: the answer is always one of Imgur's."""

from __future__ import annotations

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imgurfs.emulator.config import Dialect
from tests.support.emulated import emulate
from tests.support.knocking import FORM, check_shape, knock

WORDS = ["3", "account", "me", "album", "image", "images", "upload", "add", "credits",
         "remove_images", "favorite", "ids", "count", "oauth2", "token", "authorize",
         "settings", "delete", "sample", "..", "", "%", "\x00", "é", "\ud83d", "0",
         "-1", "a.json", "ids.json", "zzzzzzz", "passer_by", "verifyemail"]  # fmt: skip
NAMES = ["ids", "ids[]", "ids[0]", "title", "image", "type", "album", "page", "perPage",
         "privacy", "cover", "deletehashes", "deletehashes[]", "_method", "name",
         "grant_type", "client_id", "response_type", "access_token"]  # fmt: skip
FIELDS = st.lists(
    st.tuples(
        st.sampled_from(NAMES),
        st.sampled_from(
            ["", "DELETE", "base64", "url", "x", "http://127.0.0.1:1/", "0"]
        )
        | st.text(max_size=8),
    ),
    max_size=4,
)
KINDS = [FORM, "application/json", "multipart/form-data; boundary=b", "", "text/\xff"]


@settings(
    max_examples=600,
    derandomize=True,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "X"]),
    words=st.lists(st.sampled_from(WORDS), max_size=6),
    query=st.binary(max_size=20) | FIELDS.map(lambda it: repr(it).encode()),
    fields=FIELDS,
    kind=st.sampled_from(KINDS),
    noise=st.binary(max_size=40),
    who=st.sampled_from(["owner", "anonymous", "nobody"]),
    dialect=st.sampled_from(list(Dialect)),
)
async def test_anything_at_all(
    method: str,
    words: list[str],
    query: bytes,
    fields: list[tuple[str, str]],
    kind: str,
    noise: bytes,
    who: str,
    dialect: Dialect,
) -> None:
    """Whatever is put together, by whomever, the answer is one of Imgur's."""
    emulator = emulate(dialect=dialect, albums=1, images=1)
    known = emulator.credentials
    authorization = {
        "owner": {"authorization": f"Bearer {known.access_token}".encode()},
        "anonymous": {"authorization": f"Client-ID {known.client_id}".encode()},
        "nobody": {},
    }[who]
    bodies = {
        FORM: "&".join(f"{k}={v}" for k, v in fields).encode("utf-8", "replace"),
        "application/json": json.dumps(dict(fields)).encode(),
        "multipart/form-data; boundary=b": b"".join(
            f'--b\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n'.encode(
                "utf-8", "replace"
            )
            for k, v in fields
        ),
    }
    body = bodies.get(kind, b"") + noise
    headers = {**authorization, "content-type": kind.encode("latin-1")}
    path = "/" + "/".join(words)
    answer = await knock(
        emulator.api, method, path, query=query, headers=headers, body=body
    )
    check_shape(answer)
    shown = await knock(emulator.cdn, method, path, query=query, headers=headers)
    assert shown.status in (200, 302, 405)
