"""Failed assertions of the contract are explained as those of test files are."""

import pytest

pytest.register_assert_rewrite("log_contract")
