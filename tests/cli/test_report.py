"""The page of a run, and the list of recipes."""

from __future__ import annotations

from tersenet.recipes import shipped


def test_a_run_becomes_one_page(tersenet, shelf, tmp_path):
    page = tmp_path / "report.html"
    record = tersenet("report", shelf.run_dir, "-o", page, "--json").record
    assert record == {"report": str(page), "bytes": page.stat().st_size}
    text = page.read_text()
    assert text.lstrip().lower().startswith("<!doctype html>") and "fc.weight" in text
    assert f"{shelf.terse.stat().st_size:,}" in text


def test_a_folder_that_is_no_run_is_refused(tersenet, tmp_path):
    said = tersenet("report", tmp_path, "-o", tmp_path / "report.html").refused()
    assert "no run.json" in said
    (tmp_path / "run.json").write_text("{")
    assert "run.json" in tersenet("report", tmp_path, "-o", tmp_path / "report.html").refused()
    assert not (tmp_path / "report.html").exists()


def test_a_page_that_is_not_named_as_one_is_refused(tersenet, shelf, tmp_path):
    assert "end its name with .html" in tersenet("report", shelf.run_dir, "-o", tmp_path / "page.txt").refused(code=2)
    assert not list(tmp_path.iterdir())


def test_every_shipped_recipe_has_a_line(tersenet):
    record = tersenet("recipes", "--json").record
    assert {one["name"]: one["trains"] for one in record["recipes"]} == {
        name: recipe.trains for name, recipe in shipped().items()
    }
    assert {"han2016", "share-code", "dense"} <= {one["name"] for one in record["recipes"]}
    lines = tersenet("recipes").out.splitlines()
    assert len(lines) == 1 + len(record["recipes"])
