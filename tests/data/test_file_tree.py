"""The files below a folder are those of `os.walk`; each folder is listed once, and again if it has changed."""

import os

import pytest

from imettk.data import file_tree
from imettk.data.file_tree import open_tree


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def walked(folder):
    """Return the files below a folder by `os.walk`, following links, without hidden folders."""
    found = []
    for way, inner, files in os.walk(folder, followlinks=True):
        inner[:] = [name for name in inner if not name.startswith(".")]
        found += [os.path.relpath(os.path.join(way, name), folder) for name in files if way != str(folder)]
    return sorted(found)


@pytest.fixture
def scans(monkeypatch):
    """Record the folders that are listed, in order."""
    listed = []
    scan = file_tree._scan

    def note(path):
        listed.append(path)
        return scan(path)

    monkeypatch.setattr(file_tree, "_scan", note)
    return listed


@pytest.fixture
def settled(monkeypatch):
    """Trust a folder's modification time at once, however recent it is."""
    monkeypatch.setattr(file_tree, "SETTLED_NS", -(10**18))


def test_files_below_are_those_of_a_walk(tmp_path):
    touch(tmp_path, "t.png", "a/1.png", "a/b/2.png", "c d*/[3].PNG", "a/.hidden/4.png", ".git/5.png", "a/.6.png")
    tree = open_tree(tmp_path)
    assert sorted(tree.paths_below()) == walked(tmp_path)
    assert tree.files() == {"t.png"} and set(tree.folders()) == {"a", "c d*"}
    assert tree.index("a").find("1", ".png") == ["1.png"] and tree.index("gone").find("1", ".png") == []
    assert tree.below().find("[3]", ".png") == ["[3].PNG"] and tree.places("[3].PNG") == ["c d*"]
    assert tree.places("t.png") == [], "what lies in the folder itself is not below"


def test_a_name_in_several_folders_has_several_places(tmp_path):
    touch(tmp_path, "b/x.png", "a/x.png", "a/c/x.png", "a/y.png")
    tree = open_tree(tmp_path)
    assert tree.places("x.png") == ["a", "a/c", "b"] and tree.places("y.png") == ["a"] and tree.places("z.png") == []


def test_links_are_followed_once_and_never_in_circles(tmp_path):
    touch(tmp_path, "top/a/1.png", "top/b/2.png", "elsewhere/in/3.png", "one.png")
    top = tmp_path / "top"
    (top / "a" / "circle").symlink_to(top)
    (top / "b" / "again").symlink_to(top / "a")
    (top / "0").symlink_to(tmp_path / "elsewhere")  # before the others by its name
    (top / "a" / "one.png").symlink_to(tmp_path / "one.png")
    (top / "a" / "broken.png").symlink_to(tmp_path / "none")
    found = {path for path in open_tree(top).paths_below() if path.endswith(".png")}
    assert found == {"a/1.png", "b/2.png", "0/in/3.png", "a/one.png", "a/broken.png"}


def test_a_folder_is_listed_once_and_again_where_it_changed(tmp_path, scans, settled):
    touch(tmp_path, "a/1.png", "b/2.png", "b/c/3.png")
    top = str(tmp_path)
    assert len(list(open_tree(tmp_path).paths_below())) == 3
    assert sorted(scans) == [top, f"{top}/a", f"{top}/b", f"{top}/b/c"]
    scans.clear()
    assert open_tree(tmp_path).places("1.png") == ["a"] and scans == []
    touch(tmp_path, "b/c/1.png")
    assert open_tree(tmp_path).places("1.png") == ["a", "b/c"] and scans == [f"{top}/b/c"]
    (tmp_path / "b/c/1.png").unlink()
    (tmp_path / "a/1.png").rename(tmp_path / "a/9.png")
    assert open_tree(tmp_path).places("1.png") == [] and open_tree(tmp_path).places("9.png") == ["a"]


def test_what_has_just_changed_is_not_trusted(tmp_path, scans):
    """Two changes of a folder in one tick of the clock leave the same time."""
    touch(tmp_path, "a/1.png")
    status = os.stat(tmp_path / "a")
    assert open_tree(tmp_path).places("1.png") == ["a"]
    touch(tmp_path, "a/2.png")
    os.utime(tmp_path / "a", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert open_tree(tmp_path).places("2.png") == ["a"]


def test_a_folder_that_vanishes_is_empty(tmp_path, monkeypatch):
    touch(tmp_path, "a/1.png", "b/2.png", "c/3.png")
    scan = file_tree._scan

    def vanish(path):
        if path.endswith("/b"):
            (tmp_path / "b/2.png").unlink(missing_ok=True)
            (tmp_path / "b").rmdir()
        if path.endswith("/c"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(file_tree, "_scan", vanish)
    tree = open_tree(tmp_path)
    assert list(tree.paths_below()) == ["a/1.png"]
    assert tree.unread == ["c cannot be read: Permission denied"]
    assert open_tree(tmp_path / "none").files() == frozenset()


def test_no_file_is_looked_at(tmp_path, monkeypatch):
    """Listing asks the system only for folders."""
    touch(tmp_path, *(f"{way}/{number}.png" for way in "ab" for number in range(50)))
    looked, stat = [], os.stat
    monkeypatch.setattr(os, "stat", lambda path, **more: looked.append(str(path)) or stat(path, **more))
    tree = open_tree(tmp_path)
    assert len(list(tree.paths_below())) == 100
    assert not [path for path in looked if path.endswith(".png")]
