"""Runs inside a namespace: sends the one request that standard input describes."""

from __future__ import annotations

import hashlib
import json
import sys
import urllib.error
import urllib.parse
import urllib.request


def main() -> None:
    """Print the answer: its status, its final address and its body."""
    order = json.load(sys.stdin)
    headers, body = dict(order["headers"]), None
    if "json" in order:
        headers["Content-Type"] = "application/json"
        body = json.dumps(order["json"]).encode()
    if "form" in order:
        body = urllib.parse.urlencode(order["form"]).encode()
    request = urllib.request.Request(
        order["url"], method=order["method"], headers=headers, data=body
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            answer = response.status, response.url, response.read()
    except urllib.error.HTTPError as error:
        with error:
            answer = error.code, error.url, error.read()
    status, url, content = answer
    text = content.decode("utf-8", "replace")
    try:
        parsed = json.loads(text)
    except ValueError:
        parsed = None
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    result = {"status": status, "url": url, "json": parsed, "text": text, "md5": md5}
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    main()
