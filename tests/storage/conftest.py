"""The third decoder: spec/decoder.py, which imports nothing of ours."""

import importlib.util
from pathlib import Path

import pytest

SPEC = Path(__file__).parents[2] / "spec"


@pytest.fixture(scope="session")
def oracle():
    spec = importlib.util.spec_from_file_location("spec_decoder", SPEC / "decoder.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
