"""What an emulator can be told, as one frozen value, and the errors of telling it.

Reading files is the business of ``limits`` and ``faults``; this is only the result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from imgurfs.emulator.rules.dialect import Dialect
from imgurfs.emulator.rules.limits import REAL_LIMITS, Limits
from imgurfs.emulator.rules.quirks import Quirks, Value, quirks_of

__all__ = ["LARGE_BYTES", "TOKEN_LIFETIME_S", "Dialect", "EmulatorConfig"]

#: Access tokens live ten years (what Imgur has answered since 2020).
TOKEN_LIFETIME_S = 315_360_000
#: The sample world's large file; more than any reader wants to download for a peek.
LARGE_BYTES = 24 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatorConfig:
    """Everything that shapes an emulator; the defaults are `imgurfs emulator`'s.

    ``albums`` and ``images`` None both means the drawn sample account; otherwise a
    generated account of exactly that many. ``api_url`` and ``cdn_url`` are what links
    and redirects point to, without a trailing slash. ``quirk_changes`` are what differs
    from the dialect's real quirks; ``quirks`` is the result. ``callback_url`` is what
    the application has registered; "" lets each request name one, and who names none
    is sent to ``home_url``. Raises ValueError.
    """

    api_url: str = "http://api.imgur.test"
    cdn_url: str = "http://i.imgur.test"
    albums: int | None = None
    images: int | None = None
    seed: int = 1
    dialect: Dialect = Dialect.LEGACY
    limits: Limits = field(default=REAL_LIMITS)
    username: str = "sample"
    callback_url: str = ""
    home_url: str = "https://imgur.com/"
    token_lifetime_s: int = TOKEN_LIFETIME_S
    large_bytes: int = LARGE_BYTES
    quirk_changes: Mapping[str, Value] = field(default_factory=dict)
    quirks: Quirks = field(init=False)

    def __post_init__(self) -> None:
        for name in ("albums", "images"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name} must not be negative")
        quirks = quirks_of(self.dialect, self.quirk_changes)
        object.__setattr__(self, "quirks", quirks)
        if quirks.upload_cost != "limits":
            limits = replace(self.limits, upload_cost=int(quirks.upload_cost))
            object.__setattr__(self, "limits", limits)

    @property
    def is_sample(self) -> bool:
        """Whether the drawn sample account is wanted rather than a generated one."""
        return self.albums is None and self.images is None
