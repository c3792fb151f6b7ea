"""Logging in with a browser, as far as it is text: the address, and what comes back.

Sans-I/O. Imgur sends the browser to the application's registered address with the
tokens behind the ``#``; whoever caught that text (the callback page, a person who
pasted it) hands it in here. It may come from anybody, so nothing of it is believed
before its ``state`` is ours, and nothing of it is ever quoted in a message.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlencode

from imgurfs.errors import ForeignAnswerError, LoginNeededError

#: Longest answer that is looked at, in characters; a real one has about 300.
ANSWER_CHARS_MAX: Final = 8192
#: The documented lifetime, in seconds, for an answer that does not tell it.
_LIFETIME_S: Final = 3600
_LIFETIME_MAX_S: Final = 100 * 366 * 86_400
_TOKEN: Final = re.compile(r"[!-~]{1,4096}")
_NUMBER: Final = re.compile(r"[0-9]{1,15}")
_FIELDS_MAX: Final = 50


@dataclass(frozen=True, slots=True, repr=False)
class Answer:
    """What Imgur told the application. The account is what it said, not yet proven."""

    access_token: str
    refresh_token: str
    expires_in_s: int
    account_id: int
    account_name: str

    def __repr__(self) -> str:
        return f"<Answer for {self.account_name!r} ({self.account_id})>"


def authorize_url(*, api_url: str, client_id: str, state: str) -> str:
    """Return where a browser goes to let the application in.

    Names no redirect address: Imgur uses the registered one and refuses every request
    that names another (FormidableLabs/react-native-app-auth#1017).
    """
    query = {"client_id": client_id, "response_type": "token", "state": state}
    return f"{api_url.rstrip('/')}/oauth2/authorize?{urlencode(query)}"


def read_answer(text: str, *, state: str, is_state_needed: bool = True) -> Answer:
    """Read a redirect's address, or what is behind its ``#`` or ``?``.

    ``is_state_needed`` False takes an answer without a state; one with another state
    than ours is never taken. Raises ForeignAnswerError for what is no answer to this
    login (waiting for the real one goes on), LoginNeededError for a refusal.
    """
    fields = _fields(text)
    theirs = fields.get("state")
    is_ours = theirs is not None and hmac.compare_digest(
        theirs.encode("utf-8", "replace"), state.encode()
    )
    if not is_ours and (theirs is not None or is_state_needed):
        raise ForeignAnswerError(
            "this is the answer to another login; it was not used",
            hint="use the address that was printed last, and its tab only",
        )
    if "error" in fields:
        raise LoginNeededError(_refusal(fields["error"]), hint="nothing was changed")
    access, refresh = fields.get("access_token", ""), fields.get("refresh_token", "")
    if not _TOKEN.fullmatch(access) or (refresh and not _TOKEN.fullmatch(refresh)):
        raise ForeignAnswerError("there is no usable token in it; it was not used")
    lifetime = fields.get("expires_in", "")
    return Answer(
        access_token=access,
        refresh_token=refresh,
        expires_in_s=min(_integer(lifetime), _LIFETIME_MAX_S) or _LIFETIME_S,
        account_id=_integer(fields.get("account_id", "")),
        account_name=fields.get("account_username", "")[:100],
    )


def _fields(text: str) -> dict[str, str]:
    """Return the fields of an answer. Raises ForeignAnswerError for anything else."""
    text = text.strip()
    if len(text) > ANSWER_CHARS_MAX:
        raise ForeignAnswerError("this is too long to be an answer; it was not used")
    before, mark, after = text.partition("#")
    if not mark:
        before, mark, after = text.partition("?")
    query = after if mark else before
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_FIELDS_MAX)
    except ValueError:
        pairs = []
    fields = dict(pairs)
    if not {"access_token", "error"} & fields.keys() or len(fields) != len(pairs):
        raise ForeignAnswerError(
            "this is no answer of Imgur's login page; it was not used",
            hint="what is needed is the whole address, with what stands behind the #",
        )
    return fields


def _refusal(error: str) -> str:
    if error == "access_denied":
        return "the login was refused: you chose not to let the application in"
    known = error if re.fullmatch(r"[A-Za-z0-9_.-]{1,60}", error) else "something else"
    return f"the login was refused: Imgur said {known}"


def _integer(text: str) -> int:
    return int(text) if _NUMBER.fullmatch(text) else 0
