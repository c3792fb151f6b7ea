"""The configuration file: what is accepted, and how mistakes are told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from imgurfs import config
from imgurfs.errors import ConfigError

ROOT = Path(__file__).parents[2]
EXAMPLE = (ROOT / "config.example.toml").read_text()


def uncommented(text: str) -> str:
    """Return the example with every default switched on."""
    return re.sub(r"^# (?=\[\[folder|[a-z_]+ = )", "", text, flags=re.MULTILINE)


def test_example_as_it_is_gives_the_defaults() -> None:
    """A copied example changes nothing."""
    assert config.parse(EXAMPLE) == config.Config()


def test_example_uncommented_equals_the_defaults_and_is_complete() -> None:
    """The example shows every key there is, with its default."""
    text = uncommented(EXAMPLE).replace('path = "~/', 'path = "/home/me/')
    parsed = config.parse(text)
    assert parsed.folder == (config.FolderConfig(path="/home/me/Pictures/Imgur"),)
    assert config.Config(folder=parsed.folder) == parsed
    for struct in (config.AccountConfig, config.CacheConfig, config.BudgetConfig,
                   config.SyncConfig, config.FolderConfig):  # fmt: skip
        for key in struct.__struct_fields__:
            assert re.search(rf"^{key} = ", uncommented(EXAMPLE), re.MULTILINE), key


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[acount]\n", 1, ["acount", "account"]),
        ("[account]\nclient_idd = 'x'\n", 2, ["client_idd", "client_id"]),
        ("[account]\n\n[sync]\nsetle_s = 1\n", 4, ["sync.setle_s", "settle_s"]),
        ("[[folder]]\npath = '/x'\n[[folder]]\npth = '/y'\n", 4, ["pth", "path"]),
        ("[accounts.work]\napi_ur = 'x'\n", 2, ["accounts.work.api_ur", "api_url"]),
        ("[account]\nclient_id = 1\n", 2, ["account.client_id"]),
        ("[sync]\nsettle_s = -1\n", 2, ["settle_s"]),
        ("[sync]\nsettle_s = nan\n", 2, ["settle_s"]),
        ("[budget]\nuploads_per_hour = -1\n", 2, ["uploads_per_hour"]),
        ("[cache]\nsize_max = 'much'\n", 2, ["much", "GiB"]),
        ("[[folder]]\npath = 'relative'\n", 2, ["relative", "absolute"]),
        ("[[folder]]\npath = '/x'\nalbums = 'one:'\n", 3, ["albums"]),
        ("[[folder]]\npath = '/x'\naccount = 'ghost'\n", 3, ["ghost"]),
        ("[account]\napi_url = 'http://example.com'\n", 2, ["api_url", "http"]),
        ("[account]\napi_url = 'https://api.imgur.com/3'\n", 2, ["/3"]),
        ("[account]\ncdn_url = 'https://u:p@i.imgur.com'\n", 2, ["password"]),
    ],
)
def test_mistakes_are_told_with_line_and_remedy(
    text: str, line: int, words: list[str]
) -> None:
    """A mistake gives exit code 78, the line and what would be right."""
    with pytest.raises(ConfigError) as caught:
        config.parse(text, source="c.toml")
    said = f"{caught.value.message} {caught.value.hint}"
    assert f"c.toml:{line}:" in said
    assert all(word in said for word in words), said
    assert caught.value.exit_code == 78


def test_broken_toml_is_told() -> None:
    """Text that is not TOML is refused with the parser's position."""
    with pytest.raises(ConfigError, match=r"line 2"):
        config.parse("[account]\nclient_id = \n")


def test_sizes() -> None:
    """Sizes may be numbers or have units of either kind."""
    assert config.parse_size(17) == 17
    assert config.parse_size("2 GiB") == 2 * 2**30
    assert config.parse_size("1.5MB") == 1_500_000
    with pytest.raises(ValueError, match="not a size"):
        config.parse_size("-1")


def test_secret_readable_by_others_is_refused(tmp_path: Path) -> None:
    """A client secret in a file that others can read is not used."""
    path = tmp_path / "c.toml"
    path.write_text("[account]\nclient_secret = 'sesame'\n")
    path.chmod(0o640)
    with pytest.raises(ConfigError) as caught:
        config.load(path, {})
    assert "chmod 600" in caught.value.hint
    assert "sesame" not in str(caught.value)
    path.chmod(0o600)
    assert config.load(path, {}).account.client_secret == "sesame"


def test_secret_is_not_in_the_repr() -> None:
    """Printing the configuration does not print the secret."""
    settings = config.parse("[account]\nclient_secret = 'sesame'\n")
    assert "sesame" not in repr(settings)


def test_missing_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default file may be missing; one that was asked for may not."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert config.load(None, {}) == config.Config()
    with pytest.raises(ConfigError, match="no such"):
        config.load(tmp_path / "absent.toml", {})
    with pytest.raises(ConfigError, match="no such"):
        config.load(None, {"IMGURFS_CONFIG": str(tmp_path / "absent.toml")})


def test_environment_overrides_addresses(tmp_path: Path) -> None:
    """The two address variables win over the file, for every account."""
    path = tmp_path / "c.toml"
    path.write_text("[accounts.work]\nclient_id = 'w'\n")
    settings = config.load(path, {"IMGURFS_API_URL": "http://127.0.0.1:1"})
    assert settings.account_named("work").api_url == "http://127.0.0.1:1"
    assert settings.account.api_url == "http://127.0.0.1:1"
    with pytest.raises(ConfigError, match="IMGURFS_CDN_URL"):
        config.load(path, {"IMGURFS_CDN_URL": "http://example.com"})


def test_unknown_account_names_the_known_ones() -> None:
    """Asking for an account that is not configured lists those that are."""
    with pytest.raises(ConfigError) as caught:
        config.parse("[accounts.work]\n").account_named("wrok")
    assert "default, work" in caught.value.hint
