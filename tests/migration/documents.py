"""Random documents of each version of the orchestration schema."""

from hypothesis import strategies as st

from stepwell.schemas.migration.old_conditions import expression_of

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=8)
NUMBERS = st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    ["{{ input.a }}", "'\"", "}} {{", "\\u007b"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
ACTIONS = st.sampled_from([
    "agent_task", "file_operation", "api_call", "workflow_trigger", "approval_gate", "condition_check",
])  # fmt: skip
PARTS = st.sampled_from(["score", "total", "class", "two words", "größe", "0", "17", "007", "true", "'", "{{"])
FIELDS = st.lists(PARTS, min_size=1, max_size=4).map(".".join)
COMPARING = ["equals", "not_equals", "greater_than", "greater_or_equal", "less_than", "less_or_equal", "in", "not_in"]


def optional(**keys):
    return st.fixed_dictionaries({}, optional=keys)


def both(one, other):
    return st.tuples(one, other).map(lambda pair: {**pair[0], **pair[1]})


@st.composite
def conditions(draw):
    root = draw(st.sampled_from(["input", "input_data", "context"]) | PARTS.map("step_outputs.{}".format))
    field = f"{root}.{draw(FIELDS)}"
    if draw(st.booleans()):
        return {"field": field, "operator": draw(st.sampled_from(COMPARING)), "value": draw(VALUES)}
    last = draw(PARTS.filter(lambda part: part not in ("0", "17")))
    return {"field": f"{field}.{last}", "operator": draw(st.sampled_from(["exists", "missing"]))}


HEADS = both(st.fixed_dictionaries({"name": NAMES}), optional(id=NAMES, description=TEXTS, owner=NAMES))
ANY_VERSION = both(st.fixed_dictionaries({"action": ACTIONS}), optional(name=NAMES, description=TEXTS, note=VALUES))
OLD = optional(agent=NAMES, depends_on=st.lists(NAMES, max_size=3), timeout=NUMBERS, params=VALUES)
NEW = optional(agent_id=NAMES, dependencies=st.lists(NAMES, max_size=3), timeout_seconds=NUMBERS, parameters=VALUES)


def modes(*known):
    return optional(execution_mode=st.sampled_from(known))


OLDEST_STEPS = both(st.fixed_dictionaries({"id": NAMES}), both(ANY_VERSION, OLD))
TASKS_1_1 = both(both(ANY_VERSION, NEW), modes("sequential", "parallel"))
TASKS_1_2 = both(
    both(both(ANY_VERSION, NEW), modes("sequential", "parallel", "conditional")),
    optional(conditions=st.lists(conditions(), max_size=3)),
)


def document(version, key, content):
    return both(HEADS, st.fixed_dictionaries({"version": st.just(version), key: content}))


def by_id(tasks):
    return st.dictionaries(NAMES, tasks, max_size=4)


DOCUMENTS = {
    "1.0.0": document("1.0.0", "steps", st.lists(OLDEST_STEPS, min_size=1, max_size=4, unique_by=lambda s: s["id"])),
    "1.1.0": document("1.1.0", "tasks", by_id(TASKS_1_1)),
    "1.2.0": document("1.2.0", "tasks", by_id(TASKS_1_2)),
}

EXPRESSIONS = st.sampled_from(
    ["input.n > 1", "step_outputs.a.n == 2 and input.n > 1", '"k" in input', "1 < input.n", "input.class == 'x'"]
)
TASKS_2_0 = both(
    both(both(ANY_VERSION, NEW), modes("sequential", "parallel", "conditional")),
    optional(
        conditions=st.lists(EXPRESSIONS | conditions().map(expression_of), max_size=2),
        retry_count=st.integers(0, 3),
        retry_delay=NUMBERS,
        checkpoint=st.booleans() | NAMES,
    ),
)
TODAY = document("2.0.0", "tasks", by_id(TASKS_2_0))
"""What people write today: nothing is left out or filled in as a migration would."""
