"""Names in expressions as they were written.

Python's parser gives names in a normal form (NFKC): the micro sign becomes a Greek letter, a wide letter a narrow
one, an accent one with its letter. Keys of data and ids of steps are whatever somebody wrote, so names are taken from
the text.
"""

from __future__ import annotations

import ast
import unicodedata


def name_as_written(text: str, tree: ast.expr) -> None:
    """Put the names of a parsed text back as they stand there, in place."""
    data = text.encode()
    starts = [0]
    for line in data.split(b"\n"):
        starts.append(starts[-1] + len(line) + 1)

    def between(begin: tuple[int, int], end: tuple[int, int]) -> str:
        return data[starts[begin[0] - 1] + begin[1] : starts[end[0] - 1] + end[1]].decode()

    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            written = between((node.lineno, node.col_offset), _end(node))
            if unicodedata.normalize("NFKC", written) == node.id:
                node.id = written
        elif isinstance(node, ast.Attribute):
            # What follows the dot; there may be line breaks and remarks around it.
            rest = between(_end(node.value), _end(node))
            written = rest.rpartition("\n")[2].rpartition(".")[2].strip()
            if unicodedata.normalize("NFKC", written) == node.attr:
                node.attr = written


def _end(node: ast.expr) -> tuple[int, int]:
    return node.end_lineno or node.lineno, node.end_col_offset or node.col_offset
