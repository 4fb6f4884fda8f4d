"""The house stands as drawn: imports point down, the file wing runs without torch, names are written down."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import tersenet
from tersenet.coding import CODERS
from tersenet.forms import FORMS

ROOT = Path(__file__).parents[2]
LINT = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()", "--no-cache"]


def _lint(folder: Path, config: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*LINT, "--config", str(config)], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


def test_imports_point_down_and_the_file_wing_does_not_import_torch():
    result = _lint(ROOT, ROOT / "pyproject.toml")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "2 kept, 0 broken" in result.stdout


@pytest.mark.parametrize(
    ("layers", "forbidden", "broken"),
    [
        ('"tersenet.bits", "tersenet.storage"', "json", "Imports point down"),
        ('"tersenet.storage", "tersenet.bits"', "numpy", "File wing"),
    ],
)
def test_the_contracts_can_fail(tmp_path, layers, forbidden, broken):
    config = tmp_path / "broken.toml"
    config.write_text(
        '[tool.importlinter]\nroot_package = "tersenet"\ninclude_external_packages = true\n'
        f'[[tool.importlinter.contracts]]\nname = "Imports point down"\ntype = "layers"\nlayers = [{layers}]\n'
        '[[tool.importlinter.contracts]]\nname = "File wing"\ntype = "forbidden"\n'
        f'source_modules = ["tersenet.bits"]\nforbidden_modules = ["{forbidden}"]\n'
    )
    result = _lint(ROOT, config)
    assert result.returncode != 0
    assert f"{broken} BROKEN" in result.stdout


def test_the_file_wing_and_its_public_names_import_without_torch():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import tersenet, tersenet.container, tersenet.coding, tersenet.storage, tersenet.ir\n"
        "from tersenet.coding import get_coder, CODERS\n"
        "[get_coder(name) for name in CODERS]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_public_names_are_the_ones_written_down_and_each_one_loads():
    written = (ROOT / "docs" / "public_names.txt").read_text().split()
    assert sorted(tersenet.__all__) == written
    for name in written:
        assert getattr(tersenet, name) is not None
    stub = (ROOT / "src" / "tersenet" / "__init__.pyi").read_text()
    for name in written:
        assert f" as {name}\n" in stub


@pytest.mark.parametrize("table", [CODERS, FORMS], ids=["coders", "forms"])
def test_ids_name_classes_that_exist_and_bear_the_id(table):
    for name, target in table.items():
        module, attribute = target.split(":")
        assert getattr(import_module(module), attribute).__name__.lower() == name.replace("_", "")


def test_nothing_names_a_machine_or_a_registry():
    words = ("/" + "work/", "pypi" + ".org", "files.python" + "hosted", "/ro" + "ot/", "find-" + "links")
    for path in ROOT.rglob("*"):
        if path.suffix in {".py", ".md", ".toml", ".yaml", ".h", ".cpp", ".txt", ".json", ".pyi"} and not (
            {".git", "build", ".venv", ".hypothesis"} & set(path.relative_to(ROOT).parts)
        ):
            text = path.read_text(errors="replace")
            assert not [word for word in words if word in text], path
