"""The command line: help, exit codes and one-line errors."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from imgurfs.cli.main import COMMANDS


def run(
    *arguments: str, home: Path, stdin: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run ``imgurfs`` as a user with this home directory would."""
    clean = {
        k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "IMGURFS"))
    }
    return subprocess.run(
        [sys.executable, "-m", "imgurfs", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        env={**clean, "HOME": str(home), **environment},
    )


def test_help_loads_neither_fuse_nor_http() -> None:
    """``--help`` imports no command, no pyfuse3, no httpx, no trio."""
    script = (
        "import sys; from imgurfs.cli.main import cli\n"
        "cli.main(['--help'], standalone_mode=False)\n"
        "heavy = {'pyfuse3', 'httpx', 'trio', 'rich', 'sqlite3', 'PIL'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    # Measuring coverage imports things of its own.
    unmeasured = {k: v for k, v in os.environ.items() if not k.startswith("COV")}
    result = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env=unmeasured,
    )
    assert result.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help_and_the_common_options(
    name: str, tmp_path: Path
) -> None:
    """``imgurfs COMMAND --help`` works and offers --config, --account, -v and -q."""
    result = run(name, "--help", home=tmp_path)
    assert result.returncode == 0, result.stderr
    if name != "config":
        for option in ("--config", "--account", "--verbose", "--quiet"):
            assert option in result.stdout


def test_emulator_help_is_in_sections(tmp_path: Path) -> None:
    """Every option stands once, under a heading that says what it is about."""
    shown = run("emulator", "--help", home=tmp_path).stdout
    headings = [line for line in shown.splitlines() if re.fullmatch(r"\S.*:", line)]
    assert headings == [
        "Where it listens:", "What there is:", "How it behaves:", "Other:",
    ]  # fmt: skip
    listed = re.findall(r"^  (?:-\w, )?(--[a-z-]+)", shown, re.MULTILINE)
    assert len(listed) == len(set(listed)) > 15
    assert shown.index("--port") < shown.index("--albums") < shown.index("--dialect")


def test_unknown_config_key_is_exit_78_with_line(tmp_path: Path) -> None:
    """A typo in the file is one line on stderr, with place and nearest key."""
    path = tmp_path / "c.toml"
    path.write_text("[account]\nclient_ids = 'x'\n")
    for arguments in (
        ["--config", str(path), "status"],
        ["status", "--config", str(path)],
    ):
        result = run(*arguments, home=tmp_path)
        assert result.returncode == 78
        assert f"{path}:2:" in result.stderr
        assert "client_id" in result.stderr
        assert "Traceback" not in result.stderr
        assert len(result.stderr.strip().splitlines()) <= 2


@pytest.mark.parametrize("command", [["status"], ["credits"], ["mount", "MOUNTPOINT"],
                                     ["sync", "FOLDER", "--once"]])  # fmt: skip
def test_no_token_is_exit_77(command: list[str], tmp_path: Path) -> None:
    """Without a token every command that needs one says to log in."""
    places = {}
    for name in ("MOUNTPOINT", "FOLDER"):
        places[name] = tmp_path / name.lower()
        places[name].mkdir()
    result = run(*[str(places.get(word, word)) for word in command], home=tmp_path)
    assert result.returncode == 77, result.stderr
    assert "login" in result.stderr
    assert "Traceback" not in result.stderr


def test_usage_errors_are_exit_2(tmp_path: Path) -> None:
    """Wrong words on the command line are exit code 2."""
    assert run("nonsense", home=tmp_path).returncode == 2
    assert run("mount", home=tmp_path).returncode == 2
    both = ("login", "--paste", "--refresh-token-stdin")
    assert run(*both, home=tmp_path).returncode == 2
    assert run("login", "--refresh-token-stdin", home=tmp_path).returncode == 2


def test_login_without_credentials_says_where_to_put_them(tmp_path: Path) -> None:
    """A refresh token alone is not enough."""
    result = run("login", "--refresh-token-stdin", home=tmp_path, stdin="a" * 40)
    assert result.returncode == 77
    assert "client_id" in result.stderr


def test_config_init_check_show(tmp_path: Path) -> None:
    """The three ways to look at a configuration agree, and init never overwrites."""
    made = run("config", "init", "--client-id", "abc", home=tmp_path)
    assert made.returncode == 0, made.stderr
    path = Path(made.stdout.strip())
    assert path.stat().st_mode & 0o777 == 0o600
    assert run("config", "path", home=tmp_path).stdout.strip() == str(path)
    assert run("config", "check", home=tmp_path).returncode == 0
    shown = json.loads(run("config", "show", home=tmp_path).stdout)
    assert shown["account"]["client_id"] == "abc"
    assert run("config", "init", home=tmp_path).returncode == 2


def test_config_show_hides_the_secret(tmp_path: Path) -> None:
    """``config show`` never prints a secret."""
    path = tmp_path / "c.toml"
    path.write_text("[account]\nclient_secret = 'sesame'\n")
    path.chmod(0o600)
    shown = run("config", "show", "--config", str(path), home=tmp_path)
    assert shown.returncode == 0
    assert "sesame" not in shown.stdout + shown.stderr


def test_bug_is_one_line_without_v_and_a_traceback_with(tmp_path: Path) -> None:
    """An exception nobody expected is reported as a bug, not as a traceback."""
    program = (
        "import sys, click; from imgurfs.cli.main import invoke\n"
        "@click.command()\n"
        "@click.option('-v', is_flag=True)\n"
        "def broken(v): raise ZeroDivisionError('surprise')\n"
        "sys.exit(invoke(broken, program='x', arguments=sys.argv[1:]))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path
    )
    assert result.returncode == 1
    assert "internal error: ZeroDivisionError: surprise" in result.stderr
    assert "Traceback" not in result.stderr
