"""The manual pages: whole, as fresh as the commands, and readable by man."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from imgurfs.cli import manpages
from imgurfs.cli.main import cli
from tests.support.processes import REPOSITORY

_SHIPPED = REPOSITORY / "docs" / "man"


def commands(
    command: click.Command, names: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command below one, with the words that lead to it."""
    yield names, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from commands(inner, (*names, name))


def test_every_command_and_option_is_in_there() -> None:
    """What can be typed is in the page of its command, or of the whole."""
    pages = manpages.pages()
    for names, command in commands(cli, ()):
        page = pages["-".join(("imgurfs", *names[:1])) + ".1"]
        if len(names) > 1:
            assert f".SS {names[1]}".replace("-", "\\-") in page
        known = (page + pages["imgurfs.1"]).replace("\\-", "-")
        for param in command.params:
            if isinstance(param, click.Option) and not param.hidden:
                for word in (*param.opts, *param.secondary_opts):
                    assert word in known, (names, word)
    assert "--account" in pages["imgurfs-daemon.1"].replace("\\-", "-")


def test_shipped_pages_are_fresh() -> None:
    """./dev man was run after the last change of a command."""
    shipped = {file.name: file.read_text() for file in _SHIPPED.glob("*.1")}
    made = manpages.pages()
    stale = [name for name in made | shipped if made.get(name) != shipped.get(name)]
    assert not stale, "run: ./dev man"


def test_the_table_of_options_is_fresh() -> None:
    """docs/COMMANDS.md has every option of every command."""
    text = (REPOSITORY / "docs" / "COMMANDS.md").read_text()
    assert manpages.with_options(text) == text, "run: ./dev man"
    for names, command in commands(cli, ()):
        for param in command.params:
            if isinstance(param, click.Option) and not param.hidden:
                shown = (
                    rf"^\| ({' '.join(names)}|every command) \| `[^`]*{param.opts[-1]}"
                )
                assert re.search(shown, text, re.MULTILINE), (names, param.opts)


@pytest.mark.parametrize("name", ["imgurfs.1", "imgurfs-queue.1", "imgurfs-upload.1"])
def test_man_shows_them(name: str) -> None:
    """groff finds nothing wrong, and what it shows are our words."""
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Tutf8", "-P-cbou", str(_SHIPPED / name)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not done.stderr
    assert "imgurfs" in done.stdout
    assert "\x08" not in done.stdout


def test_writing_removes_pages_of_commands_that_are_gone(tmp_path: Path) -> None:
    """A second run changes nothing; an old page goes, other files stay."""
    manpages.write(tmp_path)
    before = {file.name: file.read_text() for file in tmp_path.iterdir()}
    (tmp_path / "imgurfs-old.1").write_text("gone")
    (tmp_path / "other.1").write_text("not ours")
    manpages.write(tmp_path)
    after = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert after.pop("other.1") == "not ours"
    assert after == before


def test_words_mean_themselves(tmp_path: Path) -> None:
    """A text that looks like a request is none: dots, quotes, backslashes, letters."""
    text = "Say it.\n\n.so /etc/passwd and 'quoted' and C:\\x and é."
    file = tmp_path / "odd.1"
    file.write_text("\n".join([".TH X 1", *manpages.paragraphs(text)]))
    shown = subprocess.run(
        ["groff", "-man", "-ww", "-Tutf8", "-P-cbou", str(file)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert ".so /etc/passwd and 'quoted' and C:\\x and é." in shown
