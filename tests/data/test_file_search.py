"""Names lead to files here, below, or by the end of a path, and the way is recorded."""

import pytest

from imettk.data.file_search import BELOW, BY_END, HERE, WHOLE, Search
from imettk.data.file_tree import open_tree


@pytest.fixture
def search(tmp_path):
    for name in ("a.jpg", "in/b.jpg", "in/deep/c.jpg", "x/d.jpg", "y/d.jpg", "4/e.jpg"):
        path = tmp_path / "train" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return Search(open_tree(tmp_path / "train"), ".jpg", data=open_tree(tmp_path), way="train", back="..")


@pytest.mark.parametrize(
    ("name", "files", "way"),
    [
        ("a", ["a.jpg"], HERE),
        ("in/b", ["in/b.jpg"], HERE),
        ("b", ["in/b.jpg"], BELOW),
        ("deep/c", ["in/deep/c.jpg"], BELOW),
        ("d", ["x/d.jpg", "y/d.jpg"], BELOW),
        ("/kaggle/input/comp/train/in/b", ["in/b.jpg"], BY_END),
        ("4.0/e", ["4/e.jpg"], WHOLE),
        ("none", [], HERE),
    ],
)
def test_a_name_leads_to_files_in_a_known_way(search, name, files, way):
    matches = search.find_all([name], {name} if name.startswith("/") else ())
    assert (sorted(matches.files[0]), matches.ways.tolist(), matches.companions) == (files, [way], {})


def test_a_folder_that_repeats_the_names_of_most_holds_something_else(tmp_path):
    for name in ("0.jpg", "1.jpg", "2.jpg", "masks/0.jpg", "masks/3.jpg", "more/4.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    matches = Search(open_tree(tmp_path), ".jpg").find_all(list("01234"))
    assert matches.files == [["0.jpg"], ["1.jpg"], ["2.jpg"], [], ["more/4.jpg"]]
    assert matches.companions == {3: "masks/3.jpg"}
