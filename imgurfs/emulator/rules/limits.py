"""What one may use per hour and day: the values, and reading them from a file.

The bookkeeping that enforces them is ``accounting``.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path


class LimitsFileError(ValueError):
    """A limits file cannot be used; the text says where and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Allowances; None means "not enforced" (headers then show the real number)."""

    user_credits_per_hour: int | None = 500
    client_credits_per_day: int | None = 12_500
    posts_per_hour: int | None = 1_250
    uploads_per_hour: int | None = 50
    upload_cost: int = 10
    strikes_per_month: int = 5


REAL_LIMITS = Limits()
NO_LIMITS = Limits(
    user_credits_per_hour=None,
    client_credits_per_day=None,
    posts_per_hour=None,
    uploads_per_hour=None,
)


def load_limits(text: str) -> Limits:
    """Return the limits called ``off`` or ``real``, or those of a TOML or JSON file.

    A file names fields of :class:`Limits`; what it omits is real. "off" as a value
    lifts one limit. Raises LimitsFileError.
    """
    if text == "off":
        return NO_LIMITS
    if text == "real":
        return REAL_LIMITS
    path = Path(text)
    try:
        raw = path.read_bytes().decode()
        data = json.loads(raw) if path.suffix == ".json" else tomllib.loads(raw)
    except OSError as exc:
        raise LimitsFileError(f"{text}: {exc.strerror or exc}") from exc
    except ValueError as exc:
        raise LimitsFileError(f"{text}: {exc}") from exc
    return parse_limits(data, source=text)


def parse_limits(data: object, *, source: str) -> Limits:
    """Return checked limits from a decoded file. Raises LimitsFileError."""
    if not isinstance(data, dict):
        raise LimitsFileError(f"{source}: expected a table of limits")
    known = [field.name for field in fields(Limits)]
    values: dict[str, int | None] = {}
    for key, value in data.items():
        if key not in known:
            raise LimitsFileError(
                f"{source}: unknown limit {key!r}; known are {', '.join(known)}"
            )
        is_number = isinstance(value, int) and not isinstance(value, bool)
        if value == "off" and key.endswith(("_hour", "_day")):
            values[key] = None
        elif is_number and value >= 0:
            values[key] = value
        else:
            raise LimitsFileError(f"{source}: {key} must be a whole number ≥ 0")
    return Limits(**values)  # type: ignore[arg-type]
