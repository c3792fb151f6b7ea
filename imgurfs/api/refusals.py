"""Tells what a refusal means: status *and* body, never one of them alone.

Sans-I/O; ``now`` is an argument. :func:`refusal` is asked about every answer of the
API, also those with status 200: some errors hide there. Facts: docs/IMGUR.md,
Refusals. ``metered`` uses the same function to learn from throttles.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from imgurfs import limits
from imgurfs.api import parse
from imgurfs.api.wire import Request
from imgurfs.errors import (
    ForbiddenError,
    ImgurfsError,
    LoginNeededError,
    NotFoundError,
    OutageError,
    OutcomeUnknownError,
    RejectedError,
    RemoteError,
    ThrottledError,
    TokenRejectedError,
)
from imgurfs.model import RateHeaders

_WAIT: Final = re.compile(r"wait (\d{1,4}) more (minute|second|hour)", re.IGNORECASE)
_UNIT_S: Final = {"second": 1.0, "minute": 60.0, "hour": 3600.0}
_ITEM: Final = re.compile(r"/3/(?:account/[^/]+/)?(?:album|image)/[^/?]")
_TOKEN_WORDS: Final = ("access token", "malformed auth", "authentication required")
_OWNER_WORDS: Final = ("you must own", "not the owner", "permission denied")
_TOO_FAST: Final = ("uploading too fast", "uploading file too fast")


@dataclass(frozen=True, slots=True)
class Finding:
    """What an error body says: Imgur's text, its own code and status, 0 = none."""

    text: str = ""
    code: int = 0
    status: int = 0
    is_json: bool = False


def refusal(
    request: Request,
    *,
    status: int,
    body: bytes,
    headers: RateHeaders | None,
    now: float,
) -> ImgurfsError | None:
    """Return the error this answer stands for, None for a success.

    For a change, "Imgur answered, but not as the API" means that it may have been
    done (OutcomeUnknownError), unless a 4xx says that it was refused.
    """
    finding = _finding(body)
    if 200 <= status < 300:
        # A page is no refusal: it is found malformed when its data are read.
        if not finding.is_json or not (finding.text or finding.status):
            return None
        # The error hides inside a success; its own status is the better one.
        status = max(finding.status, 400)
        return _classify(request, status, finding, headers, now=now)
    if finding.code == 429 or finding.status == 429:
        status = 429
    return _classify(request, status, finding, headers, now=now)


def _classify(
    request: Request,
    status: int,
    finding: Finding,
    headers: RateHeaders | None,
    *,
    now: float,
) -> ImgurfsError:
    text = finding.text.lower()
    said = f"Imgur says: {finding.text} (status {status})"
    if not finding.text:
        said = f"Imgur answered with status {status}"
    # A gateway's "over capacity" may come after the back-end has done the change.
    if status >= 500 and request.is_change:
        return _unclear(request, said)
    throttle = _throttle(status, text, said, headers, now=now)
    if throttle is not None:
        return throttle
    if finding.is_json:
        known = _by_text(request, status, finding, said)
        if known is not None:
            return known
    return _by_status(request, status, said, is_json=finding.is_json)


def _throttle(
    status: int, text: str, said: str, headers: RateHeaders | None, *, now: float
) -> ThrottledError | None:
    """Return what kind of "wait" this is, if it is one."""
    if any(words in text for words in _TOO_FAST):
        match = _WAIT.search(text)
        wait_s = limits.UPLOAD_PAUSE_S
        if match is not None:
            wait_s = int(match[1]) * _UNIT_S[match[2].lower()]
        wait_s = min(max(wait_s, 60.0), limits.RESET_AHEAD_MAX_S)
        return ThrottledError(said, retry_at=now + wait_s, scope="upload")
    is_limit = status in (403, 429)
    if is_limit and headers is not None:
        for scope, remaining, reset_s, window_s in (
            ("client", headers.client_remaining, headers.client_reset_s, 86_400.0),
            ("user", headers.user_remaining, headers.user_reset_s, 3600.0),
            ("posts", headers.post_remaining, headers.post_reset_s, 3600.0),
        ):
            if remaining == 0:
                ahead = window_s if reset_s is None else reset_s
                until = now + ahead + limits.RESET_MARGIN_S
                return ThrottledError(said, retry_at=until, scope=scope)
    # With another status it is a page of somebody in between: an outage, no pause.
    is_full = "capacity" in text and is_limit
    is_banned = "actions are forbidden" in text
    if is_full or is_banned or status == 429:
        until = now + limits.CAPACITY_PAUSE_S
        return ThrottledError(said, retry_at=until, scope="capacity")
    return None


def _by_text(
    request: Request, status: int, finding: Finding, said: str
) -> ImgurfsError | None:
    """Return what the words mean where they are known better than the status."""
    text = finding.text.lower()
    if "invalid client_id" in text:
        return LoginNeededError(
            said, hint="the client id is not accepted; check it in the configuration"
        )
    if status == 401 or any(words in text for words in _TOKEN_WORDS):
        return TokenRejectedError(said)
    if "unable to find an" in text:
        return NotFoundError(said)
    if any(words in text for words in _OWNER_WORDS):
        return ForbiddenError(said)
    if finding.code in (1002, 1003) or "over the size limit" in text:
        return RejectedError(said, code=finding.code)
    if "circuit breaker" in text:
        return _unclear(request, said)
    return None


def _by_status(
    request: Request, status: int, said: str, *, is_json: bool
) -> RemoteError:
    """Return what the status means when the words say nothing."""
    match status:
        case 401:
            return TokenRejectedError(said) if is_json else OutageError(said)
        case 403:
            return ForbiddenError(said) if is_json else OutageError(said)
        case 404 | 410:
            # The legacy back-end answers an unknown item with an HTML page.
            is_item = request.is_typed or _ITEM.match(request.path) is not None
            return NotFoundError(said) if is_item else OutageError(said)
        case 405 | 413 | 415 if request.is_upload:
            return RejectedError(f"Imgur does not take this file: {said}", code=status)
        case 408 | 417 | 499:
            return _unclear(request, said)
        case _ if status >= 500 or status < 300:
            return _unclear(request, said)
        case _ if status >= 400 and is_json:
            return RejectedError(said, code=status)
        case _:
            # Redirects are not followed: a token must not travel to another host.
            return OutageError(said)


def _unclear(request: Request, said: str) -> RemoteError:
    return OutcomeUnknownError(said) if request.is_change else OutageError(said)


def malformed(request: Request, what: str) -> RemoteError:
    """Return the error for a success whose body cannot be read."""
    return _unclear(request, f"Imgur answered with {what}")


# --- The five shapes of an error body -----------------------------------------


def _finding(body: bytes) -> Finding:
    try:
        value = parse.json_value(body)
    except parse.Malformed:
        return Finding(text=parse.excerpt(body))
    if not isinstance(value, dict):
        return Finding(is_json=True)
    if value.get("errors"):
        return _shape_c(value["errors"])
    data = value.get("data")
    status = _code(value.get("status"))
    is_failure = value.get("success") is False or status >= 400
    if isinstance(data, dict) and data.get("error"):
        return _shape_ab(data["error"], status)
    if value.get("error") and data is None:
        # OAuth's own shape, and the gateway's.
        described = value.get("error_description")
        return _shape_ab(described or value["error"], status)
    if is_failure or (data is None and isinstance(value.get("message"), str)):
        words = data if isinstance(data, str) else value.get("message")
        text = words if isinstance(words, str) else ""
        return Finding(parse.excerpt(text), status=status or 400, is_json=True)
    return Finding(is_json=True)


def _shape_ab(error: object, status: int) -> Finding:
    """Read an error that is a text, an object with a message, or one with a detail."""
    if isinstance(error, Mapping):
        words = error.get("message") or error.get("detail") or error.get("status")
        text = words if isinstance(words, str) else "an error without words"
        return Finding(
            parse.excerpt(text), _code(error.get("code")), status, is_json=True
        )
    text = error if isinstance(error, str) else "an error without words"
    return Finding(parse.excerpt(text), status=status, is_json=True)


def _shape_c(errors: object) -> Finding:
    """Read the newer back-end's list; its code is a text."""
    first = errors[0] if isinstance(errors, list) and errors else errors
    if not isinstance(first, Mapping):
        return Finding("an error without words", is_json=True)
    words = first.get("detail") or first.get("status")
    text = words if isinstance(words, str) else "an error without words"
    code = _code(first.get("code"))
    return Finding(parse.excerpt(text), code, code, is_json=True)


def _code(value: object) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:6])
    return value if type(value) is int and 0 <= value < 1_000_000 else 0
