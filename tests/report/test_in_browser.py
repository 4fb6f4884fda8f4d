"""The report as a browser sees it: opened from disk, it draws, says the numbers and complains of nothing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tersenet.report import write

QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--enable-logging=stderr",
)
DARK, LIGHT = "--blink-settings=preferredColorScheme=0", "--blink-settings=preferredColorScheme=1"


@pytest.fixture(scope="module")
def browser() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no Chromium: with CI=true the report must be opened in one")
        pytest.skip("no Chromium is installed, so the report cannot be opened in one")
    return found


def opened(browser: str, page: Path, profile: Path, *options: str) -> tuple[str, list[str]]:
    """What the browser prints, and what the page wrote to its console."""
    done = subprocess.run(
        [browser, *QUIET, f"--user-data-dir={profile}", *options, page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout, re.findall(r".*CONSOLE.*", done.stderr)


def test_the_four_numbers_are_in_the_page_and_the_console_is_silent(
    browser: str, run_dir: Path, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    write(run_dir, page)
    dom, console = opened(browser, page, tmp_path / "profile", "--dump-dom")
    length = (run_dir / "result.terse").stat().st_size
    values = re.findall(r'<p class="value">(.*?)</p>', dom)
    plain = [re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", value)).strip() for value in values]
    assert plain == [f"1.97 kB → {length} B", "93.42 % → 93.01 %", "48.0 k → 6.00 k", "not measured"]
    assert console == []


def test_the_console_check_can_fail(browser: str, tmp_path: Path) -> None:
    page = tmp_path / "loud.html"
    page.write_text("<script>undefined_function()</script>")
    _, console = opened(browser, page, tmp_path / "profile", "--dump-dom")
    assert len(console) == 1 and "undefined_function" in console[0]


@pytest.mark.parametrize(("scheme", "dark"), [(LIGHT, False), (DARK, True)], ids=["light", "dark"])
@pytest.mark.parametrize("width", [500, 1400])
def test_it_is_drawn_in_its_colours_and_fits_the_window(
    browser: str, run_dir: Path, tmp_path: Path, scheme: str, dark: bool, width: int
) -> None:
    page, picture = tmp_path / "report.html", tmp_path / "picture.png"
    write(run_dir, page)
    opened(browser, page, tmp_path / "profile", scheme, f"--window-size={width},1600", f"--screenshot={picture}")
    pixels = np.asarray(Image.open(picture).convert("RGB")).astype(int)
    assert pixels.shape == (1600, width, 3)
    assert (pixels[0, 0].mean() < 60) == dark
    # Text and charts leave many colours, and bars in the main one.
    assert len(np.unique(pixels @ [1 << 16, 1 << 8, 1])) > 200
    main = (110, 162, 245) if dark else (37, 99, 201)
    assert (np.abs(pixels - main).max(axis=2) < 3).sum() > 1000
    # Nothing is cut at the right: the page's own colour runs down the margin.
    assert (pixels[:, -6:] == pixels[0, 0]).all()
