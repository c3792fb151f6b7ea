"""Running ``imgurfs`` in this process, in a home of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from imgurfs import paths
from imgurfs.api.tokens import Token, TokenStore
from imgurfs.cli.main import cli, invoke

_EXPIRES_AT = 1_900_000_000.0


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def pair(self) -> tuple[int, str]:
        """Exit code and standard output."""
        return (self.code, self.out)

    @property
    def all(self) -> tuple[int, str, str]:
        """Exit code, standard output and standard error."""
        return (self.code, self.out, self.err)


class Home:
    """A place for configuration and state, and the program in it."""

    def __init__(
        self,
        directory: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        for name in ("STATE", "CACHE", "CONFIG"):
            monkeypatch.setenv(f"XDG_{name}_HOME", str(directory / name.lower()))
        for name in ("IMGURFS_CONFIG", "IMGURFS_API_URL", "IMGURFS_CDN_URL"):
            monkeypatch.delenv(name, raising=False)
        self.directory = directory
        self._capsys = capsys

    def run(self, *arguments: str) -> Said:
        """Run a command to its end; errors must be a line or two."""
        self._capsys.readouterr()
        code = invoke(cli, program="imgurfs", arguments=list(arguments))
        said = self._capsys.readouterr()
        assert "Traceback" not in said.err
        # click's own usage errors are three lines.
        assert len(said.err.splitlines()) <= 2 or code == 2
        return Said(code, said.out, said.err)

    def log_in(self, account: str = "default") -> None:
        """Store a token that nobody will ever send."""
        TokenStore(paths.account_paths(account).token).save(
            Token(
                access_token="a" * 40,
                refresh_token="r" * 40,
                client_id="c" * 15,
                client_secret="",
                account_id=1,
                account_name="me",
                expires_at=_EXPIRES_AT,
            )
        )

    @property
    def config(self) -> Path:
        """The configuration file, which need not exist."""
        return paths.config_path()

    def write_config(self, text: str) -> None:
        """Put a configuration there, readable for nobody else."""
        self.config.parent.mkdir(parents=True, exist_ok=True)
        self.config.write_text(text)
        self.config.chmod(0o600)
