"""The one expression language, for conditions, input mappings and ``{{ … }}`` templates.

It is a whitelist over Python's own grammar: ``ast.parse`` reads the text, and each kind of node that we know
becomes one small closure (see ``syntax``); any other node is refused by name. Nothing is handed to ``eval`` or
``compile``, no attribute of an object is ever read (``a.b`` means ``a["b"]``), and the only calls are to
``FUNCTIONS`` and to ``METHODS``, which are functions of ours. It means what it means in Python, except that

- ``true``, ``false`` and ``null`` are JSON's constants, unless the scope holds such a name;
- ``+ - * / // %`` work on numbers, ``+`` also on two texts or two lists; a result that is
  not finite is refused;
- mappings of any kind equal each other by content, and their keys are text;
- ``sum`` adds from left to right on every Python (3.12 made its own more precise: histories would differ).

An id with a dash is no Python name: ``fetch-data.rows`` is a subtraction. It is reached in brackets, as in
``step_outputs['fetch-data'].rows``.

Time and memory are bounded by the size of the source (there are no loops), by the size of what one operation
makes, and by the elements that one evaluation touches, whatever the data.
"""

from __future__ import annotations

import ast
import keyword
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from stepwell.core.expressions.names import name_as_written
from stepwell.core.expressions.syntax import ALLOWED, JSON_NAMES, Compiler, Evaluator
from stepwell.core.expressions.values import Evaluation, describe, shorten
from stepwell.errors import ExpressionError
from stepwell.schemas.definitions.literals import MAX_SOURCE

_SHORT: Final = 200
"""Characters of the sources that are remembered, so that what is remembered stays small."""

_PATH: Final = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", re.ASCII)
_PATH_KEYS: Final = 20
_WORDS: Final = frozenset(keyword.kwlist)
# Where Python's parser may warn: escapes in texts, and numbers that a word follows at once, as in 1if.
_WARNED: Final = re.compile(r"\\|(?<!\w)\d[\w.]*[A-Za-z]")
_SYNTAX: Final = (
    "Write and, or, not and == as in Python; keys and ids that are no plain names, such as fetch-data or "
    "class, go in brackets: step_outputs['fetch-data']."
)
_QUOTED: Final = re.compile(r"""'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*\"""")
# What other languages write, outside of quotes, and how it is written here; the first that is found.
_HABITS: Final = (
    (r"&&", "Write and instead of &&."),
    (r"\|\|", "Write or instead of ||."),
    (r"[=!]==", "Write == or != with two characters."),
    (r"!(?!=)", "Write not instead of !."),
    (r"<>", "Write != instead of <>."),
    (r"\b(?:AND|OR|NOT|IN|IS)\b", "Write and, or, not, in and is in lower case."),
    (r"\?", "Write a if condition else b instead of condition ? a : b."),
    (r"(?<![=!<>:])(?<!reverse)=(?!=)", "Write == to compare."),
)


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked expression; made by :func:`compile_expression`, safe to share.

    Its closures are made when it is evaluated first: of the many that a large definition holds they would be most
    of the memory, and of the garbage collector's work.

    Attributes:
        source: The text it was compiled from.
        names: The root names that it reads, without function names and without ``true``, ``false``, ``null``.
        references: Access paths, each as far as it is constant: ``step_outputs.fetch.rows[0]`` gives
            ``("step_outputs", "fetch", "rows")``; ``input[context.key]`` gives ``("input",)`` and
            ``("context", "key")``.
    """

    source: str
    names: frozenset[str]
    references: frozenset[tuple[str, ...]]
    _run: Evaluator | None = field(default=None, repr=False, compare=False)
    _parts: int = field(default=0, repr=False, compare=False)

    def evaluate(self, scope: Mapping[str, Any]) -> Any:
        """Return the value of the expression, which pays from a meter of its own.

        Args:
            scope: Root names and their JSON-like data: any ``Mapping``, list, tuple, text, number, None.

        Returns:
            Any value of the language; perhaps a part of the data itself, not a copy: do not change it.

        Raises:
            LimitError: It takes more work, or makes more, than there is for it.
            ExpressionError: For whatever else goes wrong: a missing name or key, wrong types, a limit.
        """
        return self.evaluate_in(Evaluation(scope))

    def evaluate_in(self, evaluation: Evaluation) -> Any:
        """The same within an evaluation that goes on: several expressions pay from its meter.

        Raises:
            ExpressionError: As ``evaluate``.
        """
        try:
            run = self._run
            if run is None:
                text, before, tree = _parse(self.source)
                compiler = Compiler(text, before)
                run = compiler.build(tree)
                object.__setattr__(self, "_parts", compiler.parts)
                object.__setattr__(self, "_run", run)  # frozen for whoever shares it
            evaluation.left -= self._parts  # whoever looks at data next sees whether it was too much
            return run(evaluation)
        except ExpressionError:
            raise
        except Exception as error:
            raise ExpressionError(f"{shorten(self.source)}: {describe(error)}") from error


def compile_expression(source: str) -> Expression:
    """Check an expression.

    Args:
        source: One Python expression within the whitelist, at most ``MAX_SOURCE`` characters; may span lines.

    Raises:
        ExpressionError: When it does not parse or uses what is not allowed; says what, where, and what is.
    """
    return _compile_short(source) if len(source) <= _SHORT else _compile(source)


def _compile(source: str) -> Expression:
    if len(source) > MAX_SOURCE:
        raise ExpressionError(
            f"the expression has {len(source):,} characters, {MAX_SOURCE:,} are allowed",
            remedy="Compute it in a handler.",
        )
    path = _as_path(source)
    if path:  # by far the most frequent in templates; no parser is needed to see that it is allowed
        return Expression(source, frozenset(path[:1]), frozenset((path,)))
    text, before, tree = _parse(source)
    compiler = Compiler(text, before)
    try:
        compiler.build(tree)
    except ExpressionError:
        _check_braces(source)  # to Python a set within a set
        raise
    except RecursionError as error:  # the caller has left no room on the stack
        raise ExpressionError(f"{shorten(source)}: {describe(error)}", remedy=ALLOWED) from error
    paths = frozenset(compiler.references)
    return Expression(source, frozenset([path[0] for path in paths]), paths)


_compile_short = lru_cache(maxsize=1024)(_compile)  # steps of one kind share their conditions


def _as_path(source: str) -> tuple[str, ...]:
    """The keys of a source that is nothing but plain words between dots; empty for any other."""
    text = source.strip()
    if not _PATH.fullmatch(text):
        return ()
    path = tuple(text.split("."))
    if len(path) > _PATH_KEYS or path[0] in JSON_NAMES or not _WORDS.isdisjoint(path) or "__" in text:
        return ()
    return path


def _parse(source: str) -> tuple[str, int, ast.expr]:
    """What is parsed, how many of its lines are ours, and its tree."""
    text = source.strip().replace("\r\n", "\n").replace("\r", "\n")
    if not text:
        raise ExpressionError("the expression is empty", remedy=ALLOWED)
    before = 0
    if "\n" in text:  # it may span lines, as whatever is in brackets may in Python
        text, before = f"(\n{text}\n)", 1
    try:
        return text, before, _tree(text)
    except SyntaxError as error:
        _check_braces(source)
        place = f"(line {max((error.lineno or 1) - before, 1)}, column {error.offset or 1})"
        habit = _habit(source)
        what = error.msg.partition(". ")[0] if habit else error.msg  # Python's guess may be refused here, as := is
        raise ExpressionError(f"{shorten(source)} {place}: {what}", remedy=habit or _SYNTAX) from error
    except (MemoryError, RecursionError) as error:  # how the parser reports too much nesting
        raise ExpressionError(f"{shorten(source)}: nested too deeply", remedy=ALLOWED) from error
    except Exception as error:  # null bytes, halves of surrogate pairs
        raise ExpressionError(f"{shorten(source)}: {describe(error)}", remedy=ALLOWED) from error


def _tree(text: str) -> ast.expr:
    if not _WARNED.search(text):
        tree = ast.parse(text, mode="eval").body
    else:
        with warnings.catch_warnings():  # such as for '\d': no reason to print, or to fail under -W error
            warnings.simplefilter("ignore")
            tree = ast.parse(text, mode="eval").body
    if not text.isascii():
        name_as_written(text, tree)
    return tree


def _habit(source: str) -> str:
    """How that is written which other languages write otherwise; empty where nothing is known."""
    bare = _QUOTED.sub("''", source)
    return next((remedy for pattern, remedy in _HABITS if re.search(pattern, bare)), "")


def _check_braces(source: str) -> None:
    """Refuse a whole template where only its expression is wanted: said better than "a set is not allowed"."""
    if "}}" in _QUOTED.sub("''", source).partition("{{")[2]:
        bare = " ".join(source.replace("{{", " ").replace("}}", " ").split())
        raise ExpressionError(
            f"{shorten(source)}: an expression is written without braces here", remedy=f"Write {shorten(bare)}."
        ) from None
