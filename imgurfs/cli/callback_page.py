"""The page a browser shows when Imgur sends it back. Text only; ``callback`` serves it.

Its script takes what stands behind the ``#`` (browsers do not send that to a server),
removes it from the address bar and the history, and posts it to where the page came
from. Nothing is loaded from anywhere, and what is shown is set as text.
"""

from __future__ import annotations

from typing import Final

_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>imgurfs login</title>
<style nonce="@NONCE@">
body { font: 1.1em/1.5 sans-serif; max-width: 34em; margin: 4em auto; padding: 0 1em }
</style>
</head>
<body>
<h1>imgurfs</h1>
<p id="said" role="status">One moment&hellip;</p>
<noscript><p>This page needs JavaScript to hand the login over. Without it: copy the
whole address from the address bar, and run <code>imgurfs login --paste</code>.</p>
</noscript>
<script nonce="@NONCE@">
"use strict";
const answer = location.hash.slice(1) || location.search.slice(1);
history.replaceState(null, "", location.pathname);
const say = (text) => {
  document.getElementById("said").textContent = text;
  document.title = "imgurfs login: " + text;
};
fetch("@ANSWER@", {
  method: "POST",
  headers: { "Content-Type": "text/plain", "X-Imgurfs-Ticket": "@TICKET@" },
  body: answer,
  cache: "no-store",
  credentials: "omit",
  redirect: "error",
})
  .then((reply) => reply.text())
  .then(say)
  .catch(() => say("imgurfs is not waiting any more. If it said in the terminal " +
    "that you are logged in, all is well; otherwise start 'imgurfs login' again."));
</script>
</body>
</html>
"""


def page(*, answer_path: str, nonce: str, ticket: str) -> bytes:
    """Return the page. ``ticket`` proves that a post comes from this very page."""
    filled = (
        _PAGE.replace("@NONCE@", nonce)
        .replace("@ANSWER@", answer_path)
        .replace("@TICKET@", ticket)
    )
    return filled.encode()


def policy(nonce: str) -> str:
    """Return the Content-Security-Policy of a page with that nonce."""
    return (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
