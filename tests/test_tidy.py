"""The shape of the code, as far as a machine can see it."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60


def tracked(*patterns: str) -> list[Path]:
    """Return the files git tracks or would track; without git, all of them."""
    listing = subprocess.run(
        [
            "git",
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
            "--",
            *patterns,
        ],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout
    paths = [ROOT / name for name in listing.decode().split("\0") if name]
    return [path for path in paths if path.exists()]


PRODUCT = [
    p for p in tracked("*.py") if p.relative_to(ROOT).parts[0] in ("imgurfs", "daemon")
]
PYTHON = tracked("*.py")


def name_of(path: Path) -> str:
    """Return a path as a test id."""
    return str(path.relative_to(ROOT))


def test_there_is_something_to_check() -> None:
    """The other tests in this module look at the whole product."""
    assert len(PRODUCT) > 40


@pytest.mark.parametrize("path", PYTHON, ids=name_of)
def test_module_is_short_and_says_what_it_is(path: Path) -> None:
    """A module has at most 400 lines and opens with a docstring."""
    source = path.read_text()
    assert len(source.splitlines()) <= MODULE_LINES_MAX
    assert ast.get_docstring(ast.parse(source)), "no module docstring"


@pytest.mark.parametrize("path", PYTHON, ids=name_of)
def test_functions_are_short(path: Path) -> None:
    """A function has at most 60 lines."""
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert not long


@pytest.mark.parametrize("path", PRODUCT, ids=name_of)
def test_nothing_is_unfinished(path: Path) -> None:
    """No marker of unfinished work is left in the product."""
    words = re.compile(r"\b(TODO|FIXME|XXX|NotImplementedError)\b")
    found = [line for line in path.read_text().splitlines() if words.search(line)]
    assert not found


def test_each_test_says_what_it_shows() -> None:
    """Every test function has a docstring."""
    silent = [
        f"{name_of(path)}:{node.lineno} {node.name}"
        for path in PYTHON
        if path.name.startswith("test_")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]
    assert not silent


def test_daemon_folder_is_not_a_package() -> None:
    """A top-level package called daemon would overwrite python-daemon's files."""
    assert not (ROOT / "daemon" / "__init__.py").exists()


def test_requirements_are_locked_without_addresses() -> None:
    """Every locked requirement has hashes, and no lock file names a registry."""
    for path in sorted((ROOT / "requirements").glob("*.txt")):
        text = path.read_text()
        assert "://" not in text
        pins = re.findall(r"^[A-Za-z0-9_.-]+==\S+", text, re.MULTILINE)
        blocks = re.split(r"^(?=[A-Za-z0-9_.-]+==)", text, flags=re.MULTILINE)[1:]
        assert pins
        assert all("--hash=sha256:" in block for block in blocks)


def test_top_level_is_what_the_readers_expect() -> None:
    """Nobody has left anything in the top-level directory."""
    names = {path.relative_to(ROOT).parts[0] for path in tracked()}
    assert names <= {
        ".ci", ".gitignore", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md",
        "bench", "config.example.toml", "daemon", "dev", "docs", "imgurfs",
        "pyproject.toml", "requirements", "systemd", "tests",
    }  # fmt: skip
