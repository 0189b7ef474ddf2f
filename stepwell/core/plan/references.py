"""What the expressions of a definition refer to: steps that there are, and that have run by then."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from stepwell.core.expressions.values import shorten
from stepwell.schemas.definitions.model import Step
from stepwell.suggest import Suggestions

ROOT_NAMES: Final = frozenset({"input", "input_data", "step_outputs", "context"})
_BLOCK: Final = 4_096
"""Steps whose descendants are found in one pass over the graph, a bit for each: 50 MB for 100,000 steps."""


class References:
    """Checks references as they come, and those that look further than a step's own dependencies all at once.

    Args:
        steps: By id.
        suggestions: What misspelt names may stand for.
    """

    def __init__(self, steps: Mapping[str, Any], suggestions: Suggestions) -> None:
        self._steps = steps
        self._suggestions = suggestions
        self._far: list[tuple[str, Step, str]] = []  # who is referred to, by whom, and where it is written

    def problems(
        self, references: Iterable[tuple[str, ...]], at: str, step: Step | None, known: frozenset[str]
    ) -> list[str]:
        """What is wrong with the references of one expression or template.

        Args:
            references: As in ``Expression.references``.
            at: Where it is written.
            step: Whose it is; None where it may look at every step.
            known: Names that it may use besides.
        """
        unknown: set[str] = set()
        missing: set[str] = set()
        used: set[str] = set()
        for path in references:
            root = path[0]
            if root == "step_outputs":
                if len(path) > 1:
                    (used if path[1] in self._steps else missing).add(path[1])
            elif root not in ROOT_NAMES and root not in known:
                (used if root in self._steps else unknown).add(root)
        if step is not None and used:
            used.difference_update(step.depends_on)
            self._far.extend((step_id, step, at) for step_id in sorted(used))
        if not unknown and not missing:
            return []
        problems = []
        for name in sorted(unknown):
            near = self._suggestions.near(name, [*ROOT_NAMES, *known], self._steps)
            hint = near or "; there are input, step_outputs, context and step ids"
            problems.append(f'{at}: nothing is called "{shorten(name)}"{hint}')
        for step_id in sorted(missing):
            near = self._suggestions.near(step_id, self._steps)
            problems.append(f'{at}: unknown step "{shorten(step_id)}"{near}')
        return problems

    def far_problems(self, order: Iterable[Sequence[str]]) -> list[str]:
        """What is wrong with the references to steps that are no dependencies: they may lead there through others.

        Args:
            order: Ids in batches, each after all that it depends on.
        """
        wanted = sorted({earlier for earlier, _, _ in self._far})
        found: set[tuple[str, str]] = set()
        ids = [step_id for batch in order for step_id in batch] if wanted else []
        for start in range(0, len(wanted), _BLOCK):
            bit = {step_id: 1 << number for number, step_id in enumerate(wanted[start : start + _BLOCK])}
            seen: dict[str, int] = {}  # of each step: itself and its ancestors, as far as they are in this block
            for step_id in ids:
                bits = 0
                for other in self._steps[step_id].step.depends_on:
                    bits |= seen[other]
                seen[step_id] = bits | bit.get(step_id, 0)
            found.update(
                (earlier, step.id)
                for earlier, step, _ in self._far
                if earlier in bit and earlier != step.id and seen[step.id] & bit[earlier]
            )
        return [
            f'{at}: refers to "{earlier}", which "{step.id}" does not depend on, directly or not; '
            f"add it to depends_on"
            for earlier, step, at in self._far
            if (earlier, step.id) not in found
        ]
