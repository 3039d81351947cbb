"""Python's own syntax trees, in tests that read code."""

import ast
from contextlib import suppress

TRIES = 100


def parse(source: str | bytes) -> ast.Module:
    """Return the tree of *source*.

    CPython before 3.13 fails at it now and then where a traceback is shown meanwhile, as that parses, too: by another
    thread, or by what a collection of garbage frees. See https://github.com/python/cpython/issues/106905
    """
    for _ in range(TRIES):
        with suppress(SystemError):
            return ast.parse(source)
    return ast.parse(source)
