"""The graph of a definition: which steps wait for which, checked, and laid out in batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from stepwell.core.expressions.values import shorten
from stepwell.schemas.definitions.model import Definition, Step
from stepwell.schemas.definitions.step_type import StepTypes
from stepwell.suggest import Suggestions

_SHOWN: Final = 20  # steps of a cycle: of a long one, its ends


class Graph:
    """Read part by part, in the order of the methods; laid out once nothing was found wrong.

    Args:
        definition: Whose steps they are.
        types: The step types there are.
        problems: Where everything that is wrong is told, each with its place.
        suggestions: What misspelt ids may stand for.

    Attributes:
        handles: For each error handler, the step whose failure it handles.
        dependents: For each step, those that depend on it, in written order.
        batches: Ids by depth: what could run at once if nothing failed and nothing was limited. The first batch
            depends on nothing.
        outputs: Ids of the steps whose outputs are the workflow's, where it says nothing else.
    """

    def __init__(
        self, definition: Definition, types: StepTypes, problems: list[str], suggestions: Suggestions
    ) -> None:
        self._definition = definition
        self._types = types
        self._problems = problems
        self._near = suggestions.near
        self._steps: dict[str, Step] = {step.id: step for step in definition.steps}
        self._index = {step.id: index for index, step in enumerate(definition.steps)}
        self.handles: dict[str, str] = {}
        self.dependents: dict[str, list[str]] = {step_id: [] for step_id in self._steps}
        self.batches: tuple[tuple[str, ...], ...] = ()
        self.outputs: tuple[str, ...] = ()

    def check_ids(self) -> None:
        """Each step has a name of its own."""
        counts = Counter(step.id for step in self._definition.steps)
        for index, step in enumerate(self._definition.steps):
            if counts[step.id] > 1 and self._index[step.id] == index:
                self._problems.append(f'steps[{index}].id: "{step.id}" is given to {counts[step.id]} steps')

    def read_error_handlers(self) -> None:
        """Who handles whose failure."""
        steps, handles = self._steps, self.handles
        for failing, handler in self._definition.error_handlers.items():
            at = f"error_handlers.{failing}"
            if failing not in steps:
                self._problems.append(f'{at}: unknown step "{failing}"{self._near(failing, steps)}')
            if handler.step not in steps:
                self._problems.append(f'{at}: unknown step "{handler.step}"{self._near(handler.step, steps)}')
            elif handler.step == failing:
                self._problems.append(f"{at}: a step cannot handle its own failure")
            elif handler.step in handles:
                other = handles[handler.step]
                self._problems.append(
                    f'{at}: "{handler.step}" already handles "{other}"; give each step a handler of its own'
                )
            else:
                handles[handler.step] = failing
        self._problems.extend(
            f"error_handlers.{failing}: an error handler cannot have one itself"
            for failing in self._definition.error_handlers
            if failing in handles
        )

    def link(self) -> None:
        """Who waits for whom; what handles failures waits for nothing but them."""
        steps, handles = self._steps, self.handles
        for step_id, step in steps.items():
            at = f"steps[{self._index[step_id]}].depends_on"
            handled = handles.get(step_id)
            if handled is not None and set(step.depends_on) - {handled}:
                self._problems.append(
                    f'{at}: "{step_id}" handles the failure of "{handled}" and may depend on nothing else'
                )
                continue
            for other, count in Counter(step.depends_on).items():
                if other not in steps:
                    self._problems.append(f'{at}: unknown step "{shorten(other)}"{self._near(other, steps)}')
                elif other == step_id:
                    self._problems.append(f'{at}: "{other}" depends on itself')
                elif other in handles:
                    self._problems.append(
                        f'{at}: "{other}" runs only when "{handles[other]}" fails; nothing may depend on it'
                    )
                elif count > 1:
                    self._problems.append(f'{at}: "{other}" is named {count} times')
                elif handled is None:
                    self.dependents[other].append(step_id)

    def lay_out(self) -> None:
        """Kahn's algorithm, a layer at a time; what is left over lies on a cycle or behind one."""
        steps = {step_id: step for step_id, step in self._steps.items() if step_id not in self.handles}
        missing = {step_id: len(step.depends_on) for step_id, step in steps.items()}
        layer = [step_id for step_id, count in missing.items() if count == 0]
        batches = []
        while layer:
            batches.append(tuple(sorted(layer, key=self._index.__getitem__)))
            following = []
            for step_id in layer:
                for dependent in self.dependents[step_id]:
                    missing[dependent] -= 1
                    if missing[dependent] == 0:
                        following.append(dependent)
            layer = following
        self.batches = tuple(batches)
        if sum(map(len, batches)) < len(steps):
            cycle = " → ".join(self._cycle({step_id for step_id, count in missing.items() if count > 0}))
            self._problems.append(f"steps: they depend on each other in a cycle: {cycle}")
        gathering = {declared.name for declared in self._types if declared.way == "output"}
        named = tuple(step_id for step_id, step in steps.items() if step.type in gathering)
        self.outputs = named or tuple(step_id for step_id in steps if not self.dependents[step_id])

    def _cycle(self, left: Iterable[str]) -> list[str]:
        """One cycle among what is left: follow dependencies until a step comes again."""
        left = frozenset(left)
        path: dict[str, int] = {}
        at = min(left, key=self._index.__getitem__)
        while at not in path:
            path[at] = len(path)
            at = next(other for other in self._steps[at].depends_on if other in left)
        found = list(path)[path[at] :]
        found = [*found, at][::-1]
        return found if len(found) <= _SHOWN else [*found[: _SHOWN // 2], "…", *found[-_SHOWN // 2 :]]
