"""What all tests share: the folder with real data, and slow tests only when they are asked for."""

import os
import signal
from pathlib import Path

import pytest

# A shell starts what it puts in the background with Ctrl-C ignored, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder that TERSENET_DATA names; where CI is set, doing without it is a failure."""
    named = os.environ.get("TERSENET_DATA")
    if named and Path(named).is_dir():
        return Path(named)
    why = f"TERSENET_DATA names no folder ({named})" if named else "TERSENET_DATA is unset"
    if os.environ.get("CI") == "true":
        pytest.fail(f"{why}: with CI=true the tests on real data must run")
    pytest.skip(f"{why}: it names the folder with real data and trained networks")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "slow" in (config.option.markexpr or ""):
        return
    skip = pytest.mark.skip(reason="slow: run with -m slow")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)
