"""Whatever looks odd in a folder is counted and named in one line."""

import shutil

from laid_folders import lay_text, list_oddities, mentions
from PIL import Image

from imettk.starter.look import look_into
from imettk.synthetic.whales import WhalesSize, make_whales

ABC = ("train/a.jpg", "train/b.jpg", "train/c.jpg", "train/d.jpg")


WHALES = WhalesSize(whales=8, singletons=2, unknown_train=12, test=8, unknown_test=4, merged=1, width=48)


def small_whales(data, answers):
    make_whales(data, answers, size=WHALES)


def test_unused_tables_are_described(tmp_path):
    small_whales(tmp_path / "data", tmp_path / "answers.csv")
    lines = list_oddities(tmp_path / "data")
    assert mentions(lines, "boxes.csv is not used", "table.boxes_csv")
    assert mentions(lines, "left_out.csv is not used", "a list of images") and mentions(
        lines, "duplicate_ids.csv is not used"
    )


def test_a_sample_without_its_images_is_reported(tmp_path):
    lay_text(tmp_path, "id,label\na,owl\nb,hen\nc,owl\nd,hen\n", *ABC)
    (tmp_path / "sample_submission.csv").write_text("id,label\nx,owl\n")
    assert mentions(
        list_oddities(tmp_path), "sample_submission.csv: 1 row (x) without an image: `prepare` will stop until"
    )


def test_everything_odd_is_counted_and_named(tmp_path):
    rows = [
        ("a", "owl"),
        ("b", "hen"),
        ("c", "Owl"),
        ("d", ""),
        ("d", "hen"),
        ("z", "n/a"),
        ("b2", "hen"),
        ("b3", "hen"),
    ]
    lay_text(tmp_path, "id,label\n" + "".join(f"{name},{label}\n" for name, label in rows), *ABC)
    lay_text(tmp_path, "x", "train/b2.jpg", "train/b3.jpg", "train/spare.jpg", "more/m.jpg", csv="bad.txt")
    (tmp_path / "train" / "b3.jpg").write_bytes(b"")
    (tmp_path / "broken.csv").write_bytes(b"\xff\xfe\x00")
    lines = list_oddities(tmp_path)
    for parts in [
        ("1 row (z) without an image",),
        ("1 id (d) more than once",),
        ("1 row (d) without a label",),
        ("1 label ('n/a': 1 rows) may stand for a missing answer",),
        ("3 labels ('owl': 1, 'Owl': 1, 'n/a': 1) with 1 or 2 rows",),
        ("1 label ('Owl' and 'owl') with more than one spelling",),
        ("1 image (spare.jpg) in train/ without a row",),
        ("more/ is not used: 1 image (m.jpg)",),
        ("b3.jpg",),
        ("broken.csv is not a readable csv table",),
    ]:
        assert mentions(lines, *parts), (parts, lines)


def test_images_count_whatever_they_are_called(tmp_path):
    """The content of a file decides, as it does for `prepare`."""
    for folder in ("owl", "hen"):
        lay_text(tmp_path, "x", f"{folder}/1.jpg", f"{folder}/2.png", csv="notes.txt")
        for name in ("3.pgm", "4.jp2", "5.tga"):
            Image.new("L", (8, 8)).save(tmp_path / folder / name)
        for name, copied in (("6", "1.jpg"), ("7.dat", "2.png"), ("8.jfif", "1.jpg")):
            shutil.copy(tmp_path / folder / copied, tmp_path / folder / name)
        (tmp_path / folder / "list.txt").write_text("1 2 3")
    contents = look_into(tmp_path)
    assert contents.num_images == 16 and contents.others == {".txt": 3}
    lines = list_oddities(tmp_path)
    assert mentions(lines, "files of other types are ignored: 3 .txt")
    assert mentions(lines, "2 files (hen/list.txt, owl/list.txt) in folders of labels without an image's extension")
