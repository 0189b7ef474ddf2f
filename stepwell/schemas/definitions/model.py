"""The canonical form of a workflow definition: what every dialect compiles to and what the engine runs.

A definition is immutable once registered. It is known by name and version and by its ``hash``, which an instance
pins when it starts. These structs check shapes and ranges; what needs the whole graph (cycles, unknown ids,
expressions) is checked by ``stepwell.core.plan.compile``.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from stepwell.ids import Identifier

LONGEST_SECONDS: Final = 10 * 366 * 86400  # nobody means more than ten years
Seconds = Annotated[float, Meta(ge=0, le=LONGEST_SECONDS)]
TimeLimit = Annotated[float, Meta(gt=0, le=LONGEST_SECONDS)]  # nothing can be done in no time
MAX_DELAY: Final = 300.0
"""Seconds to which the waits between attempts grow where a definition does not say."""
Mode = Literal["parallel", "sequential"]
OnFailure = Literal["fail", "skip", "pause", "rollback"]
WhenSkipped = Literal["run", "skip"]
AfterHandler = Literal["fail", "continue", "rollback"]


class Retry(Struct, frozen=True, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """When a failed attempt is followed by another.

    Attributes:
        max_attempts: All attempts, the first one included.
        initial_delay_seconds: Wait before the second attempt.
        multiplier: Each further wait is this much longer.
        max_delay_seconds: No wait is longer than this, whatever the other side asks for. Where it is not written:
            ``MAX_DELAY``, but never less than what is: ``initial_delay_seconds``, or what the other side asks for.
        jitter: Share of the wait, 0 to 1, by which it is shortened at random (drawn once, recorded).
        retry_on_timeout: Whether an attempt that timed out is followed by another.
        retryable: Error types that are retried whatever their kind, by class name (base classes count).
        non_retryable: Error types that are never retried, likewise.
    """

    max_attempts: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    initial_delay_seconds: Seconds = 1.0
    multiplier: Annotated[float, Meta(ge=1, le=1000)] = 2.0
    max_delay_seconds: Seconds | None = None
    jitter: Annotated[float, Meta(ge=0, le=1)] = 0.0
    retry_on_timeout: bool = True
    retryable: tuple[str, ...] = ()
    non_retryable: tuple[str, ...] = ()


class Compensation(Struct, frozen=True, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """What undoes a step when the workflow rolls back to before it.

    Attributes:
        handler: Name or dotted path of the handler that undoes.
        input: Its input, templates allowed; without one it gets the step's output.
        config: Settings of the handler, templates allowed.
        queue: The queue of its workers; without one, the step's.
        retry: Undoing is tried three times unless this says otherwise.
        timeout_seconds: For one attempt.
    """

    handler: Identifier
    input: Any = None
    config: dict[str, Any] = {}
    queue: str = ""
    retry: Retry = Retry(max_attempts=3)
    timeout_seconds: TimeLimit | None = None


class Step(Struct, frozen=True, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """One node of the graph.

    Attributes:
        id: Unique within the definition.
        name: What people call it.
        type: ``python`` runs ``handler``; the others are built in.
        handler: Name or dotted path of a Python function; only for ``python``.
        description: What it is for.
        queue: The queue of workers that the step is routed to.
        depends_on: Ids of the steps that must be settled first.
        condition: An expression; false skips the step.
        input: The step's input, templates allowed; without one, the outputs of its dependencies merged over
            the workflow's input.
        input_mapping: Parameters by name, each a value, a template, or a reference such as
            ``step_outputs.fetch.rows``; laid over ``input``.
        config: Settings of the step's type or handler, templates allowed.
        mode: ``sequential`` steps of one instance run one at a time, in written order.
        retry: When a failed attempt is followed by another; never, unless this says so.
        timeout_seconds: For one attempt.
        on_failure: Once no attempt is left: ``fail`` the workflow, ``skip`` the step and go on, ``pause`` for
            a person, or ``rollback`` what was done.
        compensate: What undoes the step.
        checkpoint: True or a name: a point that a rollback can name, reached when the step has succeeded.
        when_skipped: Where a step that it depends on was skipped: ``run`` all the same, or ``skip`` this one, too;
            without it, what the definition says.
    """

    id: Identifier
    name: str = ""
    type: str = "python"
    handler: str | None = None
    description: str = ""
    queue: Identifier = "default"
    depends_on: tuple[str, ...] = ()
    condition: str | None = None
    input: Any = None
    input_mapping: dict[str, Any] = {}
    config: dict[str, Any] = {}
    mode: Mode = "parallel"
    retry: Retry = Retry()
    timeout_seconds: TimeLimit | None = None
    on_failure: OnFailure = "fail"
    compensate: Compensation | None = None
    checkpoint: bool | str = False
    when_skipped: WhenSkipped | None = None


class ErrorHandler(Struct, frozen=True, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """A step that runs only when another one has failed.

    Attributes:
        step: Id of the handling step.
        then: What the workflow does once it is done.
    """

    step: Identifier
    then: AfterHandler = "fail"


class Definition(Struct, frozen=True, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """A workflow: a graph of steps under a name and a version.

    Attributes:
        name: What the workflow is called.
        steps: The nodes of the graph; their order is the written order.
        version: Distinguishes what was registered under the same name.
        description: What it is for.
        tags: Words by which people find it.
        input_schema: JSON Schema of the input; a start whose input does not fit is rejected.
        default_timeout_seconds: How long an instance may take in all, unless its start says otherwise.
        max_parallel_steps: How many steps of one instance may be under way at once, but for those that only wait.
        error_handlers: Id of a step to what handles its failure.
        output: Template of the workflow's output; without one, the output of its ``output`` steps, or the
            outputs of the steps that nothing depends on, by id.
        when_skipped: What steps do that say nothing themselves, where one that they depend on was skipped.
    """

    name: Identifier
    steps: tuple[Step, ...]
    version: Identifier = "1"
    description: str = ""
    tags: tuple[str, ...] = ()
    input_schema: dict[str, Any] | None = None
    default_timeout_seconds: TimeLimit | None = None
    max_parallel_steps: Annotated[int, Meta(ge=1)] | None = None
    error_handlers: dict[str, ErrorHandler] = {}
    output: Any = None
    when_skipped: WhenSkipped = "run"

    @property
    def reference(self) -> str:
        """``name@version``, the key under which it is registered."""
        return f"{self.name}@{self.version}"


_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(Definition)


def canonical_form(definition: Definition) -> tuple[Definition, bytes]:
    """A definition as it is read back from the log, and its canonical JSON.

    Raises:
        msgspec.ValidationError: A field does not fit; structs built in Python are not checked before.
        TypeError: A value is no JSON.
    """
    definition = _decoder.decode(_encoder.encode(definition))
    return definition, _encoder.encode(definition)


def encode_definition(definition: Definition) -> bytes:
    """Canonical JSON of a definition: the same bytes for the same definition, in any process.

    Also for one built in Python, where seconds may be an int: they are written as the float that it is read as.

    Raises:
        msgspec.ValidationError: A field does not fit; structs built in Python are not checked before.
        TypeError: A value is no JSON.
    """
    return canonical_form(definition)[1]


def decode_definition(data: bytes) -> Definition:
    """Read what ``encode_definition`` wrote.

    Raises:
        msgspec.ValidationError: It is no canonical definition.
    """
    return _decoder.decode(data)


def hash_definition(definition: Definition) -> str:
    """What an instance pins: SHA-256 over the canonical JSON, in 64 hexadecimal digits.

    Earlier versions of Stepwell pinned the first 16 of them: ``stepwell.schemas.records.pins`` finds a definition by
    both.
    """
    return hash_canonical(encode_definition(definition))


def hash_canonical(canonical: bytes) -> str:
    """``hash_definition`` of what is encoded already."""
    return hashlib.sha256(canonical).hexdigest()
