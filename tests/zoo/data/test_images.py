"""Image folders and the ImageNet sample: classes, sizes, parts, and refusal of what is not an image."""

import csv
import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from tersenet.zoo import load
from tersenet.zoo.data import DataError, DataMissing, folder, images
from tersenet.zoo.data.imagenet_sample import read_archive


def picture(path, color, size=(6, 4), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, color).save(path)


def fill(root, classes=("cat", "dog"), n=10, **options):
    for label, name in enumerate(classes):
        for i in range(n):
            picture(root / name / f"{i:02}.png", (100 * label + i, 0, 0), **options)


def test_classes_are_the_subfolders_and_parts_are_set_aside(tmp_path):
    fill(tmp_path)
    (tmp_path / "cat/notes.txt").write_text("not an image")
    (tmp_path / ".hidden").mkdir()
    data = load(f"folder:{tmp_path}")
    assert data.class_names == ("cat", "dog") and data.input_shape == (3, 4, 6)
    assert (len(data.train), len(data.validate), len(data.test)) == (16, 2, 2)
    reds = [split.x[:, 0, 0, 0] for split in data.splits.values()]
    assert sorted(np.concatenate(reds)) == [*range(10), *range(100, 110)]
    assert all((split.y == split.x[:, 0, 0, 0] // 100).all() for split in data.splits.values())


def test_named_parts_are_used_and_a_missing_class_in_the_test_is_fine(tmp_path):
    fill(tmp_path / "train")
    fill(tmp_path / "val", n=3)
    fill(tmp_path / "test", classes=("dog",), n=1)
    data = load(f"folder:{tmp_path}")
    assert (len(data.train), len(data.validate), len(data.test)) == (20, 6, 1) and data.test.y.tolist() == [1]


def test_without_a_validation_folder_it_is_held_out_of_training_and_a_missing_test_says_so(tmp_path):
    fill(tmp_path / "train")
    data = load(f"folder:{tmp_path}")
    assert (len(data.train), len(data.validate)) == (18, 2)
    with pytest.raises(DataMissing, match="no folder test"):
        _ = data.test


def test_grey_pictures_have_one_channel_and_different_sizes_become_squares(tmp_path):
    for i in range(10):
        picture(tmp_path / "grey/a" / f"{i}.png", i, mode="L")
    assert load(f"folder:{tmp_path / 'grey'}").input_shape == (1, 4, 6)
    fill(tmp_path / "mixed", n=9)
    picture(tmp_path / "mixed/cat/large.png", (9, 9, 9), size=(700, 30))
    picture(tmp_path / "mixed/cat/grey.png", 7, mode="L")
    data = load(f"folder:{tmp_path / 'mixed'}")
    assert data.input_shape == (3, 256, 256) and len(data.train) == 16


def test_wrong_folders_are_refused(tmp_path, monkeypatch):
    with pytest.raises(DataMissing, match="no such folder"):
        load(f"folder:{tmp_path / 'none'}")
    with pytest.raises(DataError, match="no subfolders"):
        load(f"folder:{tmp_path}")
    (tmp_path / "cat").mkdir()
    with pytest.raises(DataError, match="no images"):
        load(f"folder:{tmp_path}")
    picture(tmp_path / "cat/a.png", (0, 0, 0))
    with pytest.raises(DataError, match="too few"):
        load(f"folder:{tmp_path}")
    fill(tmp_path)
    (tmp_path / "cat/b.jpg").write_bytes(b"\xff\xd8 not a picture")
    with pytest.raises(DataError, match=r"b\.jpg: not a readable image"):
        load(f"folder:{tmp_path}")
    whole = (tmp_path / "cat/a.png").read_bytes()
    (tmp_path / "cat/b.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"b\.jpg"):
        load(f"folder:{tmp_path}")
    (tmp_path / "cat/b.jpg").unlink()
    monkeypatch.setattr(folder, "MAX_BYTES", 100)
    with pytest.raises(DataError, match="held in memory"):
        load(f"folder:{tmp_path}")


def test_a_class_only_in_the_test_and_a_huge_picture_are_refused(tmp_path, monkeypatch):
    fill(tmp_path / "train")
    fill(tmp_path / "test", classes=("emu",))
    with pytest.raises(DataError, match="'emu'"):
        load(f"folder:{tmp_path}")
    monkeypatch.setattr(images, "MAX_PIXELS", 10)
    with pytest.raises(DataError, match="at most 10"):
        images.probe(tmp_path / "train/cat/00.png", "p")


def archive(path, rows, files):
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["index", "wnid", "name", "file"])
    writer.writerows(rows)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("labels.csv", text.getvalue())
        for name, content in files.items():
            out.writestr(name, content)
    return path


def jpeg(side=256):
    out = io.BytesIO()
    Image.new("RGB", (side, side), (10, 20, 30)).save(out, "png")
    return out.getvalue()


@pytest.mark.parametrize(
    ("rows", "files", "reason"),
    [
        ([], {}, "names 0 images"),
        ([(0, "n0", "tench", "a.jpg")], {}, r"lacks a\.jpg"),
        ([(1000, "n0", "tench", "a.jpg")], {"a.jpg": jpeg()}, "class 1000"),
        ([("x", "n0", "tench", "a.jpg")], {"a.jpg": jpeg()}, "line 2"),
        ([(0, "n0", "tench", "a.jpg")], {"a.jpg": jpeg(20)}, "20x20"),
        ([(0, "n0", "tench", "a.jpg")], {"a.jpg": b"x"}, "not a readable image"),
        ([(0, "n0", "tench", "a.jpg")], {"a.jpg": b"\0" * (5 << 20)}, "said to unpack"),
    ],
)
def test_wrong_archives_are_refused(rows, files, reason, tmp_path):
    with pytest.raises(DataError, match=reason):
        read_archive(archive(tmp_path / "z.zip", rows, files))


def test_a_right_archive_is_read_and_a_cut_one_refused(tmp_path):
    path = archive(tmp_path / "z.zip", [(7, "n7", "cock", "a.jpg")], {"a.jpg": jpeg()})
    x, y, names = read_archive(path)
    assert x.shape == (1, 3, 256, 256) and y.tolist() == [7] and names[7] == "cock"
    assert x[0, :, 0, 0].tolist() == [10, 20, 30]
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match="not a readable zip"):
        read_archive(path)


def test_the_real_sample_has_one_image_a_class_and_nothing_to_train_on(data_dir):
    data = load("imagenet_sample", data_dir=data_dir)
    assert data.test.y.tolist() == list(range(1000)) and data.class_names[1] == "goldfish"
    assert data.input_shape == (3, 224, 224)
    with pytest.raises(DataMissing, match="testing only"):
        _ = data.train
