"""The manual pages, made from the same words as ``--help``. Not a command.

``./dev man`` runs it: one page for each command, one for the whole and one for
``imgurfs-daemon`` go into ``docs/man/``, and the table of options into
docs/COMMANDS.md. The wheel has the pages under ``share/man/man1``; a test says when
anything of that is not what the commands say.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from imgurfs import __version__
from imgurfs.cli.main import cli

_EXIT_CODES: Final = (
    ("0", "done"),
    ("1", "failed, or there was nothing to do what was asked for to"),
    ("2", "wrong words on the command line"),
    ("69", "something this machine lacks"),
    ("75", "try later: something waits for a limit, a time or your decision"),
    ("77", "log in again"),
    ("78", "the configuration is wrong"),
    ("130", "interrupted"),
)
_ENVIRONMENT: Final = (
    ("IMGURFS_CONFIG", "the configuration file, unless --config names one"),
    ("IMGURFS_API_URL, IMGURFS_CDN_URL", "instead of those of the configuration"),
    ("NO_COLOR, CLICOLOR=0", "no colours; without a terminal there are none anyway"),
    ("XDG_CONFIG_HOME, XDG_STATE_HOME, XDG_CACHE_HOME", "where the files below lie"),
)
_FILES: Final = (
    ("~/.config/imgurfs/config.toml", "the configuration"),
    ("~/.local/state/imgurfs/", "tokens, databases, and bytes that are not uploaded"),
    ("~/.cache/imgurfs/", "what can be downloaded again"),
)
#: A paragraph that click is told not to wrap begins with this.
_VERBATIM: Final = "\b\n"


def pages() -> dict[str, str]:
    """Return file name and text of every page."""
    from imgurfs_daemon.cli import daemon

    root = _context(cli, "imgurfs", None)
    found = {"imgurfs.1": _page(root, ["imgurfs"], parts=list(_overview(root)))}
    for name in cli.list_commands(root):
        command = cli.get_command(root, name)
        assert command is not None
        context = _context(command, name, root)
        found[f"imgurfs-{name}.1"] = _page(context, ["imgurfs", name], parts=[])
    context = _context(daemon, "imgurfs-daemon", None)
    found["imgurfs-daemon.1"] = _page(context, ["imgurfs-daemon"], parts=[])
    return found


def write(directory: Path) -> None:
    """Write the pages into a directory, and remove those of commands that are gone."""
    directory.mkdir(exist_ok=True)
    found = pages()
    for old in directory.glob("imgurfs*.1"):
        if old.name not in found:
            old.unlink()
    for name, text in found.items():
        (directory / name).write_text(text, encoding="utf-8")


def _context(
    command: click.Command, name: str, parent: click.Context | None
) -> click.Context:
    return click.Context(
        command, info_name=name, parent=parent, help_option_names=["-h", "--help"]
    )


def _page(context: click.Context, names: list[str], *, parts: list[str]) -> str:
    """Return one page: its head, what the command says, ``parts``, the foot."""
    command, title = context.command, "-".join(names)
    summary = command.get_short_help_str(limit=200).rstrip(".")
    lines = [
        f'.TH "{_roff(title.upper())}" "1" "" "imgurfs {__version__}" "imgurfs"',
        ".SH NAME",
        rf"{_roff(title)} \- {_roff(summary)}",
        ".SH SYNOPSIS",
        f".B {_roff(' '.join(names))}",
        *_wrapped(" ".join(command.collect_usage_pieces(context))),
        ".SH DESCRIPTION",
        *paragraphs(command.help or ""),
        *_options(context),
    ]
    if isinstance(command, click.Group) and len(names) > 1:
        lines.append(".SH COMMANDS")
        for inner in command.list_commands(context):
            lines += _inner(command, inner, context)
    lines += parts
    if len(names) > 1:
        lines += [".SH SEE ALSO", r"\fBimgurfs\fP(1)"]
    return "\n".join(lines) + "\n"


def _inner(group: click.Group, name: str, parent: click.Context) -> Iterator[str]:
    """Yield what there is to say about a command of a group."""
    command = group.get_command(parent, name)
    assert command is not None
    context = _context(command, name, parent)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    yield f".SS {_roff(usage)}"
    yield from paragraphs(command.help or "")
    yield from _records(context, heading="")


def _overview(root: click.Context) -> Iterator[str]:
    """Yield what only the page about the whole has."""
    yield ".SH COMMANDS"
    for name in cli.list_commands(root):
        command = cli.get_command(root, name)
        assert command is not None
        yield from (".TP", rf"\fBimgurfs\-{_roff(name)}\fP(1)")
        yield _roff(command.get_short_help_str(limit=200))
    for heading, rows in (
        ("EXIT STATUS", _EXIT_CODES),
        ("ENVIRONMENT", _ENVIRONMENT),
        ("FILES", _FILES),
    ):
        yield f".SH {heading}"
        for word, text in rows:
            yield from (".TP", rf"\fB{_roff(word)}\fP", *_wrapped(text))


def _options(context: click.Context) -> Iterator[str]:
    yield from _records(context, heading=".SH OPTIONS")


def _records(context: click.Context, *, heading: str) -> Iterator[str]:
    """Yield a command's options, those that every command has left to the whole."""
    for param in context.command.get_params(context):
        record = param.get_help_record(context)
        if record is None or not record[1] or _is_told_once(context, param):
            continue
        if heading:
            yield heading
            heading = ""
        yield from (".TP", rf"\fB{_roff(record[0])}\fP", *_wrapped(record[1]))


def _is_told_once(context: click.Context, param: click.Parameter) -> bool:
    """Whether an option is every command's, and told about the whole."""
    return context.parent is not None and not _COMMON.isdisjoint(param.opts)


_COMMON: Final = frozenset({"--config", "--account", "--verbose", "--quiet", "--help"})


def paragraphs(help_text: str) -> Iterator[str]:
    """Yield a help text as paragraphs."""
    paragraphs = re.split(r"\n[ ]*\n", inspect.cleandoc(help_text))
    for index, paragraph in enumerate(paragraphs):
        if index:
            yield ".PP"
        if paragraph.startswith(_VERBATIM):
            lines = paragraph.removeprefix(_VERBATIM).split("\n")
            yield from (".nf", *map(_roff, lines), ".fi")
        else:
            yield from _wrapped(paragraph)


def _wrapped(text: str) -> list[str]:
    """Return a text that may be filled, in lines that can be read."""
    lines = textwrap.wrap(" ".join(text.split()), 76, break_on_hyphens=False)
    return [_roff(line) for line in lines]


def _roff(text: str) -> str:
    """Return a text as one line that means itself."""
    quoted = text.replace("\\", r"\e").replace("-", r"\-")
    quoted = "".join(c if c.isascii() else rf"\[u{ord(c):04X}]" for c in quoted)
    # A line that begins with one of these would be a request.
    return r"\&" + quoted if quoted.startswith((".", "'")) else quoted


# --- The table of options -----------------------------------------------------------


def with_options(text: str) -> str:
    """Return docs/COMMANDS.md with a table of every option instead of its old one."""
    kept = text.partition(_OPTIONS_HEADING)[0].rstrip()
    return f"{kept}\n\n{_OPTIONS_HEADING}\n\n" + "\n".join(_rows()) + "\n"


def _rows() -> Iterator[str]:
    from imgurfs_daemon.cli import daemon

    root = _context(cli, "imgurfs", None)
    yield from ("| command | option | does |", "|---|---|---|")
    yield from _option_rows(root, "every command")
    for name in cli.list_commands(root):
        command = cli.get_command(root, name)
        assert command is not None
        context = _context(command, name, root)
        yield from _option_rows(context, name)
        if isinstance(command, click.Group):
            for inner in command.list_commands(context):
                found = command.get_command(context, inner)
                assert found is not None
                below = _context(found, inner, context)
                yield from _option_rows(below, f"{name} {inner}")
    yield from _option_rows(_context(daemon, "imgurfs-daemon", None), "imgurfs-daemon")


def _option_rows(context: click.Context, name: str) -> Iterator[str]:
    for param in context.command.get_params(context):
        record = param.get_help_record(context)
        if record is None or not record[1] or _is_told_once(context, param):
            continue
        cells = (cell.replace("|", "\\|") for cell in record)
        option, does = cells
        yield f"| {name} | `{option}` | {' '.join(does.split())} |"


_OPTIONS_HEADING: Final = "## Every option"


def main(root: Path) -> None:
    """Write everything into a checkout."""
    write(root / "docs" / "man")
    document = root / "docs" / "COMMANDS.md"
    document.write_text(with_options(document.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main(Path())
