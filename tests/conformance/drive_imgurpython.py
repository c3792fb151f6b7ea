"""Runs inside, in the clients' environment: imgurpython, told by lines of JSON.

Orders: ``new`` constructs a client, ``call`` calls a method of it, ``read`` reads an
attribute. The answer is ``value``, or ``raised`` and ``text``. Nothing of the client is
changed: it is imported as everybody imports it.
"""

from __future__ import annotations

import functools
import json
import sys
from typing import Any

from imgurpython import client as library


def plain(value: Any) -> Any:
    """Return a value as JSON has it; an object becomes its attributes."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return {"class": type(value).__name__, **plain(vars(value))}


class Driver:
    """One client at a time."""

    client: Any = None

    def obey(self, order: dict[str, Any]) -> Any:
        """Do what an order says and return what came of it."""
        if "new" in order:
            self.client = library.ImgurClient(*order["new"], **order["named"])
            return None
        if "read" in order:
            return functools.reduce(getattr, order["read"].split("."), self.client)
        method = getattr(self.client, order["call"])
        return method(*order["arguments"], **order["named"])


def main() -> None:
    """Obey until the input ends."""
    driver = Driver()
    for line in sys.stdin:
        try:
            answer = {"value": plain(driver.obey(json.loads(line)))}
        except Exception as exc:  # noqa: BLE001 - whatever a client raises is the answer
            answer = {"raised": type(exc).__name__, "text": str(exc)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
