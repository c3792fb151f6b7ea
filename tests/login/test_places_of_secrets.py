"""Where secrets may be: the file, the keyring, and what systemd hands over."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.logging_in import Person, imgur

BACKEND = "tests.support.file_keyring.FileKeyring"
SECRETS = ("access_token", "refresh_token", "client_secret")


@pytest.fixture
def keyring_person(person: Person) -> Person:
    """Return somebody with a desktop keyring who wants the secrets in it."""
    more = {
        "PYTHON_KEYRING_BACKEND": BACKEND,
        "FILE_KEYRING": str(person.directory / "keyring.json"),
    }
    found = Person(person.directory, person.imgur, more)
    found.configure(text='secrets = "keyring"\n')
    return found


def keyring_of(person: Person) -> Path:
    """Return the file of the keyring."""
    return Path(person.more["FILE_KEYRING"])


def test_keyring_holds_the_secrets_and_the_file_does_not(
    keyring_person: Person,
) -> None:
    """Login, use, renewal, logout: the token file never has a secret in it."""
    person = keyring_person
    person.log_in()
    (kept,) = json.loads(keyring_of(person).read_text()).values()
    secrets = {json.loads(kept)[name] for name in SECRETS}
    assert person.imgur.said["client_secret"] in secrets
    assert not [one for one in secrets if one in person.token.read_text()]
    assert "client_secret" not in person.config.read_text()
    person.imgur.end_access_tokens()
    renewed = person.run("credits")
    assert renewed.returncode == 0, renewed.stderr
    (again,) = json.loads(keyring_of(person).read_text()).values()
    assert json.loads(again)["access_token"] not in secrets
    assert json.loads(again)["access_token"] not in person.token.read_text()
    assert person.run("logout", "--all").returncode == 0
    assert json.loads(keyring_of(person).read_text()) == {}
    assert not person.token.exists()


def test_locked_keyring_is_told(keyring_person: Person) -> None:
    """A keyring that refuses is exit 78 with both ways out, and no traceback."""
    person = keyring_person
    person.log_in()
    locked = keyring_of(person).with_suffix(".locked")
    locked.touch()
    refused = person.run("credits")
    assert refused.returncode == 78
    assert "unlock it" in refused.stderr
    assert 'secrets = "file"' in refused.stderr
    locked.unlink()
    keyring_of(person).unlink()
    gone = person.run("credits")
    assert gone.returncode == 77
    assert "does not hold the token any more" in gone.stderr


def test_back_to_the_file(keyring_person: Person) -> None:
    """After secrets = "file" and a login the keyring has nothing left."""
    person = keyring_person
    person.log_in()
    person.configure()
    person.log_in()
    assert json.loads(keyring_of(person).read_text()) == {}
    assert person.imgur.said["client_secret"] in person.token.read_text()


def test_no_keyring_here(person: Person) -> None:
    """Without a keyring service a login says so, and stores nothing anywhere."""
    backend = {"PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}
    headless = Person(person.directory, person.imgur, backend)
    headless.configure(text='secrets = "keyring"\n')
    token = person.imgur.said["refresh_token"]
    refused = headless.run("login", "--refresh-token-stdin", text=token)
    assert refused.returncode == 78
    assert "no keyring service runs here" in refused.stderr
    assert not person.token.exists()


def test_keyring_package_is_missing(person: Person, tmp_path: Path) -> None:
    """Without the package the text names the extra to install."""
    absent = tmp_path / "absent"
    absent.mkdir()
    (absent / "keyring.py").write_text(
        "raise ModuleNotFoundError('no keyring here', name='keyring')\n"
    )
    path = f"{absent}:{person.environ()['PYTHONPATH']}"
    lacking = Person(person.directory, person.imgur, {"PYTHONPATH": path})
    lacking.configure(text='secrets = "keyring"\n')
    token = person.imgur.said["refresh_token"]
    refused = lacking.run("login", "--refresh-token-stdin", text=token)
    assert refused.returncode == 78
    assert "imgur-drive[keyring]" in refused.stderr


def credentials(person: Person, **given: str) -> Person:
    """Return the same person as a service that was handed credentials."""
    directory = person.directory / "credentials"
    directory.mkdir()
    for name, text in given.items():
        file = directory / f"imgurfs.{name}"
        file.write_text(text + "\n")
        file.chmod(0o440)
    return Person(
        person.directory, person.imgur, {"CREDENTIALS_DIRECTORY": str(directory)}
    )


def test_first_login_by_credentials(tmp_path: Path) -> None:
    """A service without a token logs in with what it was handed, once.

    From then on the file counts: the refresh token may have rotated, and after a logout
    the credential is not used again.
    """
    with imgur(tmp_path, "--quirk", "refresh_token=rotated") as rotating:
        said = rotating.said
        person = Person(tmp_path, rotating)
        service = credentials(
            person,
            refresh_token=said["refresh_token"],
            client_secret=said["client_secret"],
        )
        service.configure(with_secret=False)
        for _ in range(2):
            done = service.run("credits")
            assert done.returncode == 0, done.stderr
            rotating.end_access_tokens()
        kept = json.loads(person.token.read_bytes())
        assert kept["refresh_token"] != said["refresh_token"]
        assert service.run("logout").returncode == 0
        refused = service.run("credits")
        assert refused.returncode == 77
        assert "nobody is logged in" in refused.stderr


@pytest.mark.parametrize(
    ("given", "code", "words"),
    [
        ({"refresh_token": "0" * 40}, 77, "without client_id and client_secret"),
        ({"refresh_token": "a b", "client_secret": "x"}, 78, "is no token"),
        ({"refresh_token": "", "client_secret": "x"}, 78, "is no token"),
        ({"refresh_token": "0" * 40, "client_secret": "x"}, 77, "not accept"),
    ],
)
def test_bad_credentials_are_told(
    person: Person, given: dict[str, str], code: int, words: str
) -> None:
    """What was handed over and is no good is named, not shown."""
    service = credentials(person, **given)
    service.configure(with_secret=False)
    refused = service.run("credits")
    assert refused.returncode == code, refused.stderr
    assert words in refused.stderr
    assert not person.token.exists()
