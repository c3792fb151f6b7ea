"""Every promise of docs/SEMANTICS.md and docs/SYNC.md has a test that names it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCUMENTS = ("SEMANTICS.md", "SYNC.md")
PROMISE = re.compile(r"^\* \*\*([RSW]\d+)\*\*", re.MULTILINE)
CITATION = re.compile(r"\b[RSW]\d+\b")


def cited() -> set[str]:
    """Return the promises that docstrings of tests name."""
    found: set[str] = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            # "R1, R2: what is promised" - before the colon only.
            head = (ast.get_docstring(node) or "").partition(":")[0]
            is_citing = re.fullmatch(r"[RSW]\d+(, [RSW]\d+)*", head) is not None
            if is_citing and node.name.startswith("test_"):
                found |= set(CITATION.findall(head))
    return found


def test_every_promise_is_tested() -> None:
    """A promise without a test is a wish."""
    texts = [(ROOT / "docs" / name).read_text() for name in DOCUMENTS]
    promised = [one for text in texts for one in PROMISE.findall(text)]
    assert len(promised) > 70
    assert len(promised) == len(set(promised))
    assert set(promised) - cited() == set()
    assert cited() - set(promised) == set()
