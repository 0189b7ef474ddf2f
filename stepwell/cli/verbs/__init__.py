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
        at: ``MODULE:FUNCTION`` in this package, where they are not called as the verb is.
        verbs: Those further ones: ``status`` of ``projections``.
        is_hidden: Whether help leaves it out.
        fast_loop: Whether it serves many connections, which an event loop of its own is good for.
    """

    name: str
    summary: str
    at: str = ""
    verbs: tuple[Verb, ...] = ()
    is_hidden: bool = False
    fast_loop: bool = False

    @property
    def place(self) -> str:
        """``MODULE:FUNCTION`` in this package."""
        name = self.name.replace("-", "_")
        return self.at or f"{name}:{name}"


GROUPS: Final[Mapping[str, Sequence[Verb]]] = {
    "Run workflows": (
        Verb("run", "Run a workflow to its end, in this process, and print its output."),
        Verb(
            "start",
            "Start an instance and return at once; any engine and worker on this log, or `stepwell dev`, run it.",
        ),
        Verb(
            "dev",
            "Everything in one process: an engine, a worker, and the definitions of a directory, reloaded on change.",
        ),
    ),
    "Write and register definitions": (
        Verb(
            "validate",
            "Check a definition: its shape, its graph, its expressions; with --handlers, its handlers too.",
        ),
        Verb("plan", "Show in which batches the steps of a definition run, and what waits for what."),
        Verb(
            "templates",
            "List the templates that workflows can be created from, with their parameters; or show one.",
        ),
        Verb("create", "Create a workflow from a template: check its parameters, and register it."),
        Verb("migrate", "Bring definitions of the orchestration dialect to the newest version of its schema."),
        Verb(
            "register",
            "Register definitions, so that they can be started by name. What is registered already stays as it is.",
        ),
        Verb("definitions", "Show what is registered: versions, which of them can be started, tags."),
        Verb("activate", "Let starts take a version again."),
        Verb("deactivate", "Let no further start take a version; instances that run keep it."),
        Verb("schema", "Print the JSON Schema of definitions, with which editors check and complete YAML."),
    ),
    "Look at one instance": (
        Verb("status", "Show an instance: its steps, times, attempts and errors."),
        Verb("history", "Print everything that ever happened to an instance, one event a line."),
        Verb("replay", "Show an instance as it was after any past event, folded from its history alone."),
        Verb("debug", "Say why an instance is stuck, or why it failed, and what to do."),
        Verb("monitor", "Watch an instance until it ends; or all that goes on. Runs nothing itself."),
    ),
    "Look at all of them": (
        Verb("list", "List instances, the newest first.", "list:list_"),
        Verb("errors", "Print the last errors of all instances, those that were retried, too."),
        Verb("audit", "Print who asked for what, when and from where, and what became of it."),
        Verb("work", "Print what is under way in all instances, what has been so for the longest first."),
        Verb(
            "cached",
            "Print the result of the newest instance that completed with an equal input: it need not be computed "
            "again.",
        ),
        Verb(
            "stats",
            "Print statistics: totals, success rate, durations; of steps their attempts, failure rate, durations, "
            "CPU.",
        ),
        Verb(
            "health",
            "Print how all is going: log, engines, workers, read models, and each workflow with a score from 0 to "
            "100.",
        ),
        Verb("alerts", "Print what somebody should look at, and what to do about it."),
        Verb(
            "projections",
            "The read models, which list, stats, health and the others ask.",
            verbs=(
                Verb(
                    "status",
                    "Print where the read models are, which generation, and how far they are behind the log.",
                    "projections_status:projections_status",
                ),
                Verb(
                    "rebuild",
                    "Make the read models anew from the log, while the old ones are still asked.",
                    "projections_rebuild:projections_rebuild",
                ),
            ),
        ),
    ),
    "Steer an instance": (
        Verb("stop", "Pause an instance: no further step starts until `stepwell resume`."),
        Verb("resume", "Go on with a paused instance, or with a failed or cancelled one at the step that failed."),
        Verb("cancel", "End an instance; handlers that run are told."),
        Verb(
            "rollback",
            "Return to an earlier point: what came after is undone where it has a compensation, and runs anew.",
        ),
        Verb("reschedule", "Move timers: mend those that a wrong clock has put off, or move one to another time."),
        Verb("approve", "Approve what an instance waits for; who, when and why is recorded."),
        Verb(
            "reject",
            "Reject what an instance waits for: its step fails, or goes on with the rejection as its output.",
        ),
    ),
    "Processes that run for long": (
        Verb("engine", "Decide workflows until stopped; any number of engines share the log's partitions."),
        Verb("worker", "Run steps until stopped; any number of workers share the queues."),
        Verb("workers", "Show the live engines and workers: partitions, queues, handlers, concurrency."),
        Verb(
            "serve",
            "Serve HTTP: the API, /docs and /redoc; with an engine and a worker in the same process.",
            fast_loop=True,
        ),
        Verb("token", "Make an access token for `stepwell serve`, print it once, and add its SHA-256 to a file."),
        Verb(
            "serve-parts",
            "Run what `stepwell serve --apart` runs beside it; ends when standard input does.",
            is_hidden=True,
        ),
    ),
    "Tell other programs": (
        Verb(
            "webhooks",
            "Post events to those who want to be told, until stopped; several processes share the receivers.",
        ),
        Verb(
            "subscriptions",
            "Show the durable names of those who read events: how far each has come, and how many records it is "
            "behind.",
        ),
        Verb(
            "feed",
            "Publish every event to the topic NAMESPACE.feed of a log in Kafka, as CloudEvents, for other programs.",
        ),
        Verb(
            "asyncapi",
            "Print the AsyncAPI 3 description of what other programs may write and read: commands, starts, the feed.",
        ),
    ),
    "What is old": (
        Verb("archive", "Write the whole histories of finished instances to a file. Nothing is deleted."),
        Verb(
            "archived",
            "Read an archive back: list it, or show an instance of it as `status`, `history` and `replay` would.",
        ),
        Verb(
            "cleanup",
            "Delete finished instances that are old, from the log and the read models, and make the files smaller.",
        ),
    ),
    "This terminal": (
        Verb(
            "completion",
            "Print what a shell needs to complete verbs, options, ids of instances and names of workflows.",
        ),
    ),
}
"""The verbs, by the heading under which help shows them."""
