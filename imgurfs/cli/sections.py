"""A command whose help shows its options in sections.

For commands with so many options that one list of them is no help. Not a command.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click


class SectionedCommand(click.Command):
    """``sections`` is heading -> names of parameters; the rest comes last."""

    def __init__(
        self, *args: Any, sections: Mapping[str, tuple[str, ...]], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._sections = sections

    def format_options(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """Write every option once, under its heading."""
        rows = {
            param.name: record
            for param in self.get_params(ctx)
            if (record := param.get_help_record(ctx)) is not None
        }
        sections = {
            heading: [rows.pop(name) for name in names]
            for heading, names in self._sections.items()
        }
        for heading, records in {**sections, "Other": list(rows.values())}.items():
            with formatter.section(heading):
                formatter.write_dl(records)
