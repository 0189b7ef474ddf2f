"""Failed assertions of the contract are explained as those of test files are."""

import pytest

pytest.register_assert_rewrite(
    "contract_tools", "record_contract", "queue_contract", "group_contract", "log_contract"
)
