"""A definition made ready to run: its graph, checked whole, with expressions and templates compiled.

``compile_plan`` finds everything that is wrong with a definition at once, when it is registered; after that the
engine can rely on the graph being acyclic and every reference leading somewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any, Final

import msgspec

from stepwell.core.expressions.evaluate import Expression, compile_expression
from stepwell.core.expressions.json_schema import compile_schema, worst
from stepwell.core.expressions.meter import Meter
from stepwell.core.expressions.schema_bounds import MAX_CHECK, BoundedValidator
from stepwell.core.expressions.syntax import ALLOWED
from stepwell.core.expressions.templates import Template, compile_mapping, compile_template
from stepwell.core.expressions.values import shorten
from stepwell.core.plan.config_checks import config_problems
from stepwell.core.plan.graph import Graph
from stepwell.core.plan.limits import size_problems, text_problems
from stepwell.core.plan.references import References
from stepwell.core.plan.step_configs import InputCheck, input_check
from stepwell.errors import DefinitionError, ExpressionError
from stepwell.schemas.definitions.model import Definition, Retry, Step, canonical_form, hash_canonical
from stepwell.schemas.definitions.step_type import INSTANT_WAYS, StepType, StepTypes
from stepwell.suggest import Suggestions, suggest

HANDLER_NAMES: Final = frozenset({"error", "failed_step"})  # what an error handler may refer to besides

_NO_CONFIG: Final = compile_template({})


class PlanStep:
    """A step with what deciding needs at hand.

    Attributes:
        index: Its place in the definition.
        way: How it comes to its outcome.
        instant: Whether it needs nothing but the state: decided at once, without a worker.
        dependents: Ids of the steps that depend on it, in written order.
        checkpoint: The name of the point that its success is; empty for none.
        accepts: What an ``input`` step asks of its data.
        check: What a ``condition_check`` evaluates.
        mapping: What is laid over ``input``.
        skips_along: Whether it is skipped where a step that it depends on was.
        handles: The step whose failure it handles; empty for an ordinary step.
    """

    __slots__ = (
        "accepts", "check", "checkpoint", "compensation_config", "compensation_input", "condition", "config",
        "dependents", "handles", "index", "input", "instant", "mapping", "names_handler", "sequential", "skips_along",
        "step", "way",
    )  # fmt: skip

    def __init__(self, index: int, step: Step, declared: StepType | None) -> None:
        self.index: int = index
        self.step: Step = step
        self.way = "worker" if declared is None else declared.way
        self.names_handler: Callable[[str, Mapping[str, Any]], str] | None = (
            None if declared is None else declared.names_handler
        )
        self.checkpoint: str = step.id if step.checkpoint is True else step.checkpoint or ""
        self.dependents: tuple[str, ...] = ()
        self.handles: str = ""
        self.accepts: InputCheck | None = None
        self.check: Expression | None = None
        self.condition: Expression | None = None
        self.input: Template | None = None
        self.mapping: Template | None = None
        self.config: Template = _NO_CONFIG
        self.compensation_input: Template | None = None
        self.compensation_config: Template = self.config
        self.instant: bool = self.way in INSTANT_WAYS
        self.sequential: bool = step.mode == "sequential"
        self.skips_along: bool = False

    def handler(self, config: Mapping[str, Any]) -> str:
        """By what name a worker finds the code of the step; empty for a built-in type.

        Args:
            config: The step's, filled in.
        """
        if self.names_handler is not None:
            return self.names_handler(self.step.queue, config)
        return self.step.handler or ""


class Plan:
    """A definition, compiled.

    Args:
        definition: In the canonical form.
        digest: Its hash.
        types: The step types there are.

    Attributes:
        steps: Every step by id, in written order.
        batches: Ids by depth: what could run at once if nothing failed and nothing was limited.
        roots: Ids of the steps that depend on nothing.
        outputs: Ids of the steps whose outputs are the workflow's, where it says nothing else.
    """

    def __init__(self, definition: Definition, digest: str, types: StepTypes) -> None:
        self.definition = definition
        self.hash = digest
        declared = types.get
        self.steps: dict[str, PlanStep] = {
            step.id: PlanStep(index, step, declared(step.type)) for index, step in enumerate(definition.steps)
        }
        self.batches: tuple[tuple[str, ...], ...] = ()
        self.roots: tuple[str, ...] = ()
        self.outputs: tuple[str, ...] = ()
        self.output: Template | None = None
        self.input_schema: BoundedValidator | None = None

    def input_problem(self, data: Any) -> str:
        """What is wrong with an input by the definition's ``input_schema``; empty if nothing is."""
        if self.input_schema is None:
            return ""
        try:
            problem = worst(self.input_schema, data)
        except ExpressionError as error:  # limits: a schema without end, a number beyond floats
            return f"input: cannot be checked by the input_schema: {error.message}"
        return f"input{problem}" if problem else ""

    @cached_property
    def names(self) -> frozenset[str]:
        """What a rollback can name: every step's id, and the checkpoints."""
        return frozenset({*self.steps, *filter(None, (p.checkpoint for p in self.steps.values()))})

    @property
    def handlers(self) -> frozenset[str]:
        """Names and dotted paths of every handler that it needs."""
        names = {p.step.handler for p in self.steps.values() if p.step.handler}
        names |= {p.step.compensate.handler for p in self.steps.values() if p.step.compensate}
        return frozenset(names)


def compile_plan(definition: Definition, types: StepTypes, schemas: Meter | None = None) -> Plan:
    """Check a definition whole and compile it.

    What is compiled is what would be read back from the log, so that a definition built in Python and the same one
    registered by somebody else are one: a ``timeout_seconds=30`` is a float, keys are in the canonical order.

    Args:
        definition: In the canonical form.
        types: The step types there are.
        schemas: What pays for seeing whether its schemas are any; by default a meter of its own.

    Raises:
        DefinitionError: With every problem found, each naming its place, such as
            ``steps[3].depends_on: unknown step "extrct", did you mean "extract"?``
    """
    place = f"workflow {definition.name!r}"
    try:
        definition, canonical = canonical_form(definition)
    except (msgspec.ValidationError, TypeError, ValueError) as error:
        raise DefinitionError([str(error)], place=place) from None
    except RecursionError:
        raise DefinitionError(["is nested too deeply"], place=place) from None
    return _Compiler(definition, hash_canonical(canonical), types, schemas or Meter(MAX_CHECK)).compile()


class _Compiler:
    def __init__(self, definition: Definition, digest: str, types: StepTypes, schemas: Meter) -> None:
        self.definition = definition
        self.types = types
        self.schemas = schemas  # pays for all of them
        self.problems: list[str] = []
        self.plan = Plan(definition, digest, types)
        suggestions = Suggestions()
        self.graph = Graph(definition, types, self.problems, suggestions)
        self.references = References(self.plan.steps, suggestions)

    def compile(self) -> Plan:
        plan, definition = self.plan, self.definition
        if not definition.steps:
            self.problems.append("steps: there are none; a workflow needs at least one")
        self.problems += size_problems(definition)
        if self.problems:
            raise DefinitionError(self.problems, place=f"workflow {definition.name!r}")
        self.problems += text_problems(definition)
        self.graph.check_ids()
        self.graph.read_error_handlers()
        self._check_types()
        self.graph.link()
        self._check_schema()
        if not self.problems:  # what follows would only repeat what is wrong with the steps
            self.graph.lay_out()
        if not self.problems:
            self._take_over_graph()
            self._compile_steps()
            plan.output = self._template(definition.output, "output", None)
            self.problems += self.references.far_problems(plan.batches)
        if self.problems:
            raise DefinitionError(self.problems, place=f"workflow {definition.name!r}")
        return plan

    def _check_types(self) -> None:
        unknown: set[str] = set()
        for index, step in enumerate(self.definition.steps):
            at = f"steps[{index}]"
            declared = self.types.get(step.type)
            if declared is None:
                # hundreds may have it
                explained = "" if step.type in unknown else _types_near(step.type, self.types)
                unknown.add(step.type)
                self.problems.append(f'{at}.type: unknown type "{shorten(step.type)}"{explained}')
                continue
            if declared.takes_handler and not step.handler:
                self.problems.append(f'{at} ("{step.id}"): needs a handler: a registered name or a dotted path')
            elif step.handler and not declared.takes_handler:
                self.problems.append(f'{at}.handler: a step of type "{step.type}" takes none')
            self.problems.extend(config_problems(step, declared, f"{at}.config", self.schemas))
            if declared.way == "input":
                self._check_input_step(self.plan.steps[step.id], f"{at}.config")
            if not declared.attempts:
                given = {"retry": step.retry != Retry(), "timeout_seconds": step.timeout_seconds is not None}
                self.problems.extend(
                    f'{at}.{key}: a step of type "{step.type}" has no attempts, so it takes none'
                    for key, is_given in given.items()
                    if is_given
                )

    def _check_schema(self) -> None:
        schema = self.definition.input_schema
        if schema is None:
            return
        try:
            self.plan.input_schema = compile_schema(schema, self.schemas)
        except ExpressionError as error:
            self.problems.append(f"input_schema{error.place}: {_told(error)}")

    def _check_input_step(self, plan_step: PlanStep, at: str) -> None:
        try:
            plan_step.accepts = input_check(plan_step.step.config, self.schemas)
        except ExpressionError as error:
            self.problems.append(f"{at}{error.place}: {_told(error)}")

    def _take_over_graph(self) -> None:
        plan, graph = self.plan, self.graph
        plan.batches, plan.roots, plan.outputs = graph.batches, graph.batches[0], graph.outputs
        for step_id, plan_step in plan.steps.items():
            plan_step.handles = graph.handles.get(step_id, "")
            plan_step.dependents = tuple(graph.dependents[step_id])
            plan_step.skips_along = (plan_step.step.when_skipped or plan.definition.when_skipped) == "skip"

    def _compile_steps(self) -> None:
        for plan_step in self.plan.steps.values():
            step, at = plan_step.step, f"steps[{plan_step.index}]"
            if step.condition is not None:
                plan_step.condition = self._expression(step.condition, f"{at}.condition", plan_step)
            given = step.input
            if step.input_mapping and given is not None and not isinstance(given, dict):
                self.problems.append(f"{at}.input: must be a mapping where there is an input_mapping")
            elif step.input_mapping:  # only here a text may be a reference without braces
                given = {key: value for key, value in (given or {}).items() if key not in step.input_mapping}
                plan_step.input = self._template(given, f"{at}.input", plan_step)
                plan_step.mapping = self._template(step.input_mapping, f"{at}.input_mapping", plan_step, mapping=True)
            elif given is not None:
                plan_step.input = self._template(given, f"{at}.input", plan_step)
            planned = self.types[step.type].planned
            config = step.config if planned is None else planned(step.config)
            if config:
                plan_step.config = self._template(config, f"{at}.config", plan_step) or _NO_CONFIG
            if plan_step.way == "condition":
                self._check_condition_config(plan_step, at)
            if step.compensate:
                undo = step.compensate
                known = frozenset({"output"})
                plan_step.compensation_input = self._template(
                    undo.input, f"{at}.compensate.input", plan_step, known=known
                )
                plan_step.compensation_config = (
                    self._template(undo.config, f"{at}.compensate.config", plan_step, known=known) or _NO_CONFIG
                )

    def _check_condition_config(self, plan_step: PlanStep, at: str) -> None:
        source = plan_step.step.config["condition"]
        if isinstance(source, str):
            plan_step.check = self._expression(source, f"{at}.config.condition", plan_step)
        else:
            self.problems.append(f"{at}.config.condition: must be an expression in a string")

    def _expression(self, source: str, at: str, step: PlanStep) -> Expression | None:
        try:
            expression = compile_expression(source)
        except ExpressionError as error:
            self.problems.append(f"{at}: {_told(error)}")
            return None
        self._check_references(expression.references, at, step)
        return expression

    def _template(
        self,
        value: Any,
        at: str,
        step: PlanStep | None,
        *,
        mapping: bool = False,
        known: frozenset[str] = frozenset(),
    ) -> Template | None:
        if value is None:
            return None
        try:
            template = compile_mapping(value) if mapping else compile_template(value)
        except ExpressionError as error:
            self.problems.append(f"{at}{'.' + error.place if error.place else ''}: {_told(error)}")
            return None
        self._check_references(template.references, at, step, known)
        return template

    def _check_references(
        self,
        references: Iterable[tuple[str, ...]],
        at: str,
        step: PlanStep | None,
        known: frozenset[str] = frozenset(),
    ) -> None:
        if step is not None and step.handles:
            known |= HANDLER_NAMES
        # The workflow's output and error handlers look at whatever there is.
        bound = None if step is None or step.handles else step.step
        self.problems += self.references.problems(references, at, bound, known)


def _types_near(name: str, types: StepTypes) -> str:
    near = suggest(
        name, (*types.names, *(alias for alias in types.aliases if len(alias) > 2))
    )  # much is near to "ai"
    own = "one of your own is known once its module is imported (--handlers)"
    if not near:
        return f"; there are {', '.join(types.names)}; {own}"
    whole = any(other.endswith(name) for other in types.names)  # "mail" may be a type of somebody's own, not "email"
    return f"{near} Else: {own}" if whole else near


def _told(error: ExpressionError) -> str:
    """An error in one line, with the remedy that is most to the point."""
    remedy = " ".join(error.remedy.split())
    remedy = remedy.removesuffix(ALLOWED).strip() or remedy
    return f"{error.message}; {remedy[0].lower()}{remedy[1:].removesuffix('.')}" if remedy else error.message


# What a config says literally is checked here, as far as tables can tell; what templates fill in, and all the
# rest, is checked by the type itself when the step runs.
