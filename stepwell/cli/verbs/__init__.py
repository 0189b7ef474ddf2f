"""The verbs of the terminal: what each one is for, and where it is.

A verb is one function in one file. It is imported once somebody has named it; until then all that is known of it
stands here, so that help, completion and a mistyped word cost next to nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple


class Verb(NamedTuple):
    """A word that people type.

    Attributes:
        name: The word.
        summary: The first line of its function's docstring.
        place: ``MODULE:FUNCTION`` in this package; empty for one that only has further verbs.
        verbs: Those further ones: ``status`` of ``projections``.
        is_hidden: Whether help leaves it out.
        fast_loop: Whether it serves many connections, which an event loop of its own is good for.
    """

    name: str
    summary: str
    place: str = ""
    verbs: tuple[Verb, ...] = ()
    is_hidden: bool = False
    fast_loop: bool = False


GROUPS: Final[Mapping[str, Sequence[Verb]]] = {
    "Run workflows": (
        Verb("run", "Run a workflow to its end, in this process, and print its output.", "core_verbs:run"),
        Verb(
            "start",
            "Start an instance and return at once; any engine and worker on this log, or `stepwell dev`, run it.",
            "core_verbs:start",
        ),
        Verb(
            "dev",
            "Everything in one process: an engine, a worker, and the definitions of a directory, reloaded on change.",
            "core_verbs:dev",
        ),
    ),
    "Write and register definitions": (
        Verb(
            "validate",
            "Check a definition: its shape, its graph, its expressions; with --handlers, its handlers too.",
            "core_verbs:validate",
        ),
        Verb(
            "plan",
            "Show in which batches the steps of a definition run, and what waits for what.",
            "core_verbs:plan",
        ),
        Verb(
            "templates",
            "List the templates that workflows can be created from, with their parameters; or show one.",
            "template_verbs:templates",
        ),
        Verb(
            "create",
            "Create a workflow from a template: check its parameters, and register it.",
            "template_verbs:create",
        ),
        Verb(
            "migrate",
            "Bring definitions of the orchestration dialect to the newest version of its schema.",
            "template_verbs:migrate",
        ),
        Verb(
            "register",
            "Register definitions, so that they can be started by name. What is registered already stays as it is.",
            "registry_verbs:register",
        ),
        Verb(
            "definitions",
            "Show what is registered: versions, which of them can be started, tags.",
            "registry_verbs:definitions",
        ),
        Verb("activate", "Let starts take a version again.", "registry_verbs:activate"),
        Verb(
            "deactivate",
            "Let no further start take a version; instances that run keep it.",
            "registry_verbs:deactivate",
        ),
        Verb(
            "schema",
            "Print the JSON Schema of definitions, with which editors check and complete YAML.",
            "registry_verbs:schema",
        ),
    ),
    "Look at one instance": (
        Verb("status", "Show an instance: its steps, times, attempts and errors.", "view_verbs:status"),
        Verb(
            "history",
            "Print everything that ever happened to an instance, one event a line.",
            "view_verbs:history",
        ),
        Verb(
            "replay",
            "Show an instance as it was after any past event, folded from its history alone.",
            "core_verbs:replay",
        ),
        Verb("debug", "Say why an instance is stuck, or why it failed, and what to do.", "view_verbs:debug"),
        Verb(
            "monitor",
            "Watch an instance until it ends; or all that goes on. Runs nothing itself.",
            "view_verbs:monitor",
        ),
    ),
    "Look at all of them": (
        Verb("list", "List instances, the newest first.", "view_verbs:list_"),
        Verb("errors", "Print the last errors of all instances, those that were retried, too.", "view_verbs:errors"),
        Verb("audit", "Print who asked for what, when and from where, and what became of it.", "view_verbs:audit"),
        Verb(
            "work",
            "Print what is under way in all instances, what has been so for the longest first.",
            "view_verbs:work",
        ),
        Verb(
            "cached",
            "Print the result of the newest instance that completed with an equal input: it need not be computed "
            "again.",
            "view_verbs:cached",
        ),
        Verb(
            "stats",
            "Print statistics: totals, success rate, durations; of steps their attempts, failure rate, durations, "
            "CPU.",
            "view_verbs:stats",
        ),
        Verb(
            "health",
            "Print how all is going: log, engines, workers, read models, and each workflow with a score from 0 to "
            "100.",
            "view_verbs:health",
        ),
        Verb("alerts", "Print what somebody should look at, and what to do about it.", "view_verbs:alerts"),
        Verb(
            "projections",
            "The read models, which list, stats, health and the others ask.",
            verbs=(
                Verb(
                    "status",
                    "Print where the read models are, which generation, and how far they are behind the log.",
                    "view_verbs:models_status",
                ),
                Verb(
                    "rebuild",
                    "Make the read models anew from the log, while the old ones are still asked.",
                    "view_verbs:models_rebuild",
                ),
            ),
        ),
    ),
    "Steer an instance": (
        Verb("stop", "Pause an instance: no further step starts until `stepwell resume`.", "core_verbs:stop"),
        Verb(
            "resume",
            "Go on with a paused instance, or with a failed or cancelled one at the step that failed.",
            "core_verbs:resume",
        ),
        Verb("cancel", "End an instance; handlers that run are told.", "core_verbs:cancel"),
        Verb(
            "rollback",
            "Return to an earlier point: what came after is undone where it has a compensation, and runs anew.",
            "core_verbs:rollback",
        ),
        Verb(
            "approve",
            "Approve what an instance waits for; who, when and why is recorded.",
            "approval_verbs:approve",
        ),
        Verb(
            "reject",
            "Reject what an instance waits for: its step fails, or goes on with the rejection as its output.",
            "approval_verbs:reject",
        ),
    ),
    "Processes that run for long": (
        Verb(
            "engine",
            "Decide workflows until stopped; any number of engines share the log's partitions.",
            "service_verbs:engine",
        ),
        Verb("worker", "Run steps until stopped; any number of workers share the queues.", "service_verbs:worker"),
        Verb(
            "workers",
            "Show the live engines and workers: partitions, queues, handlers, concurrency.",
            "service_verbs:workers",
        ),
        Verb(
            "serve",
            "Serve HTTP: the API, /docs and /redoc; with an engine and a worker in the same process.",
            "web_verbs:serve",
            fast_loop=True,
        ),
        Verb(
            "token",
            "Make an access token for `stepwell serve`, print it once, and add its SHA-256 to a file.",
            "web_verbs:token",
        ),
        Verb(
            "serve-parts",
            "Run what `stepwell serve --apart` runs beside it; ends when standard input does.",
            "web_verbs:serve_parts",
            is_hidden=True,
        ),
    ),
    "Tell other programs": (
        Verb(
            "webhooks",
            "Post events to those who want to be told, until stopped; several processes share the receivers.",
            "webhook_verbs:webhooks",
        ),
        Verb(
            "subscriptions",
            "Show the durable names of those who read events: how far each has come, and how many records it is "
            "behind.",
            "webhook_verbs:subscriptions",
        ),
        Verb(
            "feed",
            "Publish every event to the topic NAMESPACE.feed of a log in Kafka, as CloudEvents, for other programs.",
            "service_verbs:feed",
        ),
        Verb(
            "asyncapi",
            "Print the AsyncAPI 3 description of what other programs may write and read: commands, starts, the feed.",
            "service_verbs:asyncapi",
        ),
    ),
    "What is old": (
        Verb(
            "archive",
            "Write the whole histories of finished instances to a file. Nothing is deleted.",
            "archive_verbs:archive",
        ),
        Verb(
            "archived",
            "Read an archive back: list it, or show an instance of it as `status`, `history` and `replay` would.",
            "archive_verbs:archived",
        ),
        Verb(
            "cleanup",
            "Delete finished instances that are old, from the log and the read models, and make the files smaller.",
            "archive_verbs:cleanup",
        ),
    ),
}
"""The verbs, by the heading under which help shows them."""
