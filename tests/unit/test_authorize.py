"""What comes back from a browser, or is pasted: read carefully, quoted never."""

from __future__ import annotations

from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgurfs.api.authorize import Answer, authorize_url, read_answer
from imgurfs.errors import ForeignAnswerError, ImgurfsError, LoginNeededError

STATE = "s" * 32
TOLD = {
    "access_token": "a" * 40,
    "expires_in": "315360000",
    "token_type": "bearer",
    "refresh_token": "r" * 40,
    "account_username": "somebody",
    "account_id": "123456",
    "state": STATE,
}
MEANT = Answer("a" * 40, "r" * 40, 315_360_000, 123_456, "somebody")


def text_of(**changes: str | None) -> str:
    """Return a fragment; None takes a field out."""
    fields = {k: v for k, v in {**TOLD, **changes}.items() if v is not None}
    return urlencode(fields)


def test_address_names_no_redirect() -> None:
    """Imgur refuses a redirect address in the request; the state is in it."""
    url = authorize_url(api_url="https://api.imgur.com/", client_id="c d", state=STATE)
    assert url.startswith("https://api.imgur.com/oauth2/authorize?")
    assert parse_qs(urlsplit(url).query) == {
        "client_id": ["c d"],
        "response_type": ["token"],
        "state": [STATE],
    }


@pytest.mark.parametrize(
    "before", ["", "#", "https://imgur.com/#", "http://127.0.0.1:8723/?", "/?a=b#", " "]
)
def test_answer_is_found_in_what_people_paste(before: str) -> None:
    """A whole address, its fragment, its query or the bare fields are the same."""
    assert read_answer(f"{before}{text_of()}\n", state=STATE) == MEANT


@pytest.mark.parametrize("state", ["", "S" * 32, "s" * 31, "s" * 33, "ſ" * 32, None])
def test_other_state_is_no_answer(state: str | None) -> None:
    """An answer without our state is not ours, a refusal neither."""
    for text in (text_of(state=state), text_of(state=state, error="access_denied")):
        with pytest.raises(ForeignAnswerError, match="another login"):
            read_answer(text, state=STATE)


def test_pasted_answer_may_lack_a_state_but_not_have_another() -> None:
    """Whoever pastes vouches for what has no state; what has another is a mistake."""
    assert read_answer(text_of(state=None), state=STATE, is_state_needed=False) == MEANT
    with pytest.raises(ForeignAnswerError):
        read_answer(text_of(state="x"), state=STATE, is_state_needed=False)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("access_denied", "you chose not to"),
        ("server_error", "Imgur said server_error"),
        ("<b>\x1b[31m", "Imgur said something else"),
        ("", "Imgur said something else"),
    ],
)
def test_refusal_is_told(error: str, words: str) -> None:
    """A refusal with our state ends the login, in words that are safe to print."""
    with pytest.raises(LoginNeededError, match=words):
        read_answer(urlencode({"error": error, "state": STATE}), state=STATE)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "#",
        "%%%&&&=",
        "https://imgur.com/",
        "x" * 9000,
        "&".join("a=b" for _ in range(100)),
        text_of() + "&access_token=another",
        text_of() + "&state=another",
        text_of(access_token=None),
        text_of(access_token=""),
        text_of(access_token="a b"),
        text_of(access_token="a" * 5000),
        text_of(refresh_token="r\n"),
        "code=123&state=" + STATE,
    ],
)
def test_garbage_is_refused(text: str) -> None:
    """What holds no single usable token is refused."""
    with pytest.raises(ForeignAnswerError):
        read_answer(text, state=STATE)


@pytest.mark.parametrize(
    ("changes", "meant"),
    [
        ({"refresh_token": None}, ("", 315_360_000, 123_456)),
        ({"expires_in": None}, ("r" * 40, 3600, 123_456)),
        ({"expires_in": "soon"}, ("r" * 40, 3600, 123_456)),
        ({"expires_in": "9" * 15}, ("r" * 40, 100 * 366 * 86_400, 123_456)),
        ({"account_id": "-1"}, ("r" * 40, 315_360_000, 0)),
        ({"account_id": "9" * 99}, ("r" * 40, 315_360_000, 0)),
    ],
)
def test_what_is_odd_is_bounded(
    changes: dict[str, str | None], meant: tuple[str, int, int]
) -> None:
    """Missing or absurd extras have usual values: only the token matters."""
    answer = read_answer(text_of(**changes), state=STATE)
    assert (answer.refresh_token, answer.expires_in_s, answer.account_id) == meant


@given(st.text(max_size=300), st.booleans(), st.booleans())
def test_any_text_is_an_answer_or_an_error(
    text: str, is_behind: bool, is_needed: bool
) -> None:
    """Whatever comes, the result is an answer or an error of ours."""
    whole = f"{text_of()}{text}" if is_behind else text
    try:
        answer = read_answer(whole, state=STATE, is_state_needed=is_needed)
    except ImgurfsError as error:
        said = error.message + error.hint
    else:
        said = repr(answer)
    assert said
    assert "a" * 40 not in said


def test_answer_does_not_show_its_tokens() -> None:
    """Printing an answer, in a traceback say, tells no secret."""
    assert repr(MEANT) == "<Answer for 'somebody' (123456)>"
