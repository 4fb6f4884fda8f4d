"""Caches are what the system says, and weights fit them or do not."""

from tersenet.measure.memory import Caches, caches


def listed(folder, *rows):
    for number, row in enumerate(rows):
        (folder / f"index{number}").mkdir()
        for name, text in zip(("level", "type", "size"), row, strict=True):
            (folder / f"index{number}" / name).write_text(text + "\n")


def test_caches_are_read_as_linux_lists_them(tmp_path):
    rows = (
        ("1", "Data", "32K"),
        ("1", "Instruction", "64K"),
        ("2", "Unified", "1024K"),
        ("3", "Unified", "32M"),
    )
    listed(tmp_path, *rows)
    assert caches(tmp_path) == Caches(l1_bytes=32 << 10, l2_bytes=1 << 20, l3_bytes=32 << 20)


def test_what_is_not_listed_or_not_readable_is_not_known(tmp_path):
    listed(tmp_path, ("2", "Unified", "much"), ("x", "Data", "1K"))
    (tmp_path / "index7").mkdir()
    assert caches(tmp_path) == Caches() == caches(tmp_path / "missing")


def test_weights_fit_the_smallest_cache_that_holds_them():
    known = Caches(l1_bytes=100, l3_bytes=1000)
    assert [known.holds(n) for n in (100, 101, 1000, 1001)] == ["L1", "L3", "L3", None]
    assert Caches().holds(0) is None
