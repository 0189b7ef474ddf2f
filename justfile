# The commands of everyday work: `.tools/bin/uv run just NAME`, or `just NAME` where just is installed.
# `just` alone lists them.

uv := ".tools/bin/uv"
run := uv + " run --locked"

_list:
    @{{ just_executable() }} --list --unsorted

# Install uv and everything that the project needs into .tools and .venv
setup:
    [ -x {{ uv }} ] || { python3 -m venv .tools && .tools/bin/pip install -q uv; }
    {{ uv }} sync --locked

# A minute of tests out of every layer, without brokers and with few random examples: for everyday work
quick:
    STEPWELL_EXAMPLES=10 {{ run }} pytest -q -n 2 -m "not kafka and not slow" tests/core tests/schemas tests/golden \
        tests/step_types tests/builder tests/client tests/diagnosis tests/log/test_local_log_inside.py \
        tests/contract/test_simulated_log.py tests/consumers/test_engine.py tests/consumers/test_worker.py \
        tests/server/test_instances.py tests/cli/test_run.py

# All tests, or those that are named
test *paths:
    {{ run }} pytest -q {{ paths }}

# Lint, format, types and the layers
check:
    {{ run }} ruff check .
    {{ run }} ruff format --check .
    {{ run }} mypy
    {{ run }} basedpyright --verifytypes stepwell --ignoreexternal
    {{ run }} lint-imports

# Put right what a program can put right
fix:
    {{ run }} ruff check --fix .
    {{ run }} ruff format .

# Write stepwell/steps.py, stepwell/events.py and tables of the docs anew, from step types and events
generate:
    {{ run }} python -m tests.step_types.names
    {{ run }} python -m tests.step_types.functions
    {{ run }} python -m tests.step_types.tables
    {{ run }} python -m tests.docs.events_table

# Real engines and workers on a simulated log, in worlds drawn from seeds
simulate *options="--seeds 1000 --jobs 2":
    {{ run }} python -m tests.simulation {{ options }}

# Definitions, expressions and schemas drawn at random
fuzz *options="--examples 1000":
    {{ run }} python -m tests.hostile {{ options }}

# Real processes and brokers, killed and frozen by a plan (Java 17)
chaos *options="--seed 1 --seeds 3 --seconds 120 --brokers 3":
    {{ run }} python -m tests.chaos {{ options }}

# Measure
bench *options:
    {{ run }} python -m benchmarks {{ options }}

# The quick tests on the other versions of Python that are here
pythons:
    bash .ci/pythons

# Everything that must hold, as CI does it
ci:
    bash .ci/run
