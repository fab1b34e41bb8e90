"""The smallest competition that a table can be read from."""

from places import SHARED

from imettk.config import TableFormat

DATA = SHARED / "data"
MULTILABEL = TableFormat(labels_csv="labels.csv", group_column="group")
MULTICLASS = TableFormat(task="multiclass", label_column="kind")
TRAIN = "id,attribute_ids,group\n007,2 0,a\n008,10,b\n9,0 1,a\n"
LABELS = "attribute_id,attribute_name\n2,tag::cat\n0,culture::french\n1,plain\n10,tag::a::b\n"
KINDS = "id,kind\n0,owl\n1,big cat\n2,owl\n"
SAMPLE = "id,attribute_ids\nt2,0\nt1,0\n"


def lay_out(folder, train, *images, labels=LABELS, sample=SAMPLE):
    """Write a competition's folder with empty image files: only `prepare` opens them."""
    for name, text in {"train.csv": train, "labels.csv": labels, "sample_submission.csv": sample}.items():
        (folder / name).write_text(text)
    for kind in ("train", "test"):
        (folder / kind).mkdir()
    for name in images:
        (folder / f"{name}.png").touch()
    return folder
