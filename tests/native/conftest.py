"""The tests here are about the C runtime, which this installation must have."""

import pytest

from wage_tf import native


@pytest.fixture(scope="session")
def native_engine():
    assert native.available(), "wage_tf was installed without its native engine"
