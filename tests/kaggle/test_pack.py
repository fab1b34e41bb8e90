"""The pack is complete, hashed, reproducible, and without files that must not travel."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from report_runs import write_journal

import imettk
from imettk.config import to_json
from imettk.errors import DataError, MismatchError, UserError
from imettk.kaggle import pack as packing
from imettk.kaggle.pack import PackOrder, check_pack, make_manifest, make_pack, missing_libraries
from imettk.recipes import load_recipe


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    make_pack(tmp_path / "pack", PackOrder(wheels=False), owner="some-one")
    return tmp_path / "pack"


def test_a_pack_contains_every_source_file_and_nothing_else(pack):
    package = Path(imettk.__file__).parent
    sources = {f"imettk/{path.relative_to(package)}" for path in package.rglob("*.py")}
    sources |= {"imettk/py.typed", "imettk/tracking/report.html"}
    with zipfile.ZipFile(pack / "imettk.zip") as archive:
        assert set(archive.namelist()) == sources
    assert sorted(path.name for path in pack.iterdir()) == ["dataset-metadata.json", "imettk-pack.json", "imettk.zip"]


def test_a_report_is_written_from_the_zip(pack, tmp_path):
    """Its template is read from the zip too."""
    write_journal(tmp_path / "fold0" / "journal.jsonl", 0.0, "done")
    (tmp_path / "recipe.json").write_text(to_json(load_recipe("digits")))
    code = "import sys; from imettk.cli.main import main; main(sys.argv[1:])"
    subprocess.run(
        [sys.executable, "-c", code, "report", tmp_path],
        check=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(pack / "imettk.zip")},
    )
    assert "Training loss" in (tmp_path / "report.html").read_text()


def test_python_imports_the_package_from_the_zip(pack):
    code = "import sys; sys.path.insert(0, sys.argv[1]); import imettk.cli.main; print(imettk.cli.main.__file__)"
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-c", code, pack / "imettk.zip"],
        capture_output=True,
        text=True,
        check=True,
        cwd=pack,
    )
    assert done.stdout.startswith(str(pack / "imettk.zip"))


def test_the_manifest_has_the_hash_of_every_file(pack):
    files = json.loads((pack / "imettk-pack.json").read_text())["files"]
    assert files == {"imettk.zip": hashlib.sha256((pack / "imettk.zip").read_bytes()).hexdigest()}


def test_the_same_sources_give_the_same_bytes(pack, tmp_path):
    make_pack(tmp_path / "again", PackOrder(wheels=False), owner="some-one")
    for path in pack.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


def test_a_wheel_has_the_same_bytes_whenever_it_is_built(tmp_path):
    """pip caches the wheels that it builds, with the time of any earlier day."""
    contents = []
    for year in (1999, 2020):
        path = tmp_path / f"{year}.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for name in ("b/__init__.py", "a.py") if year == 1999 else ("a.py", "b/__init__.py"):
                entry = zipfile.ZipInfo(name, (year, 1, 2, 3, 4, 6))
                entry.external_attr = (0o600 if year == 1999 else 0o664) << 16
                archive.writestr(entry, f"content of {name}")
        packing._forget_time(path)
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None and archive.read("a.py") == b"content of a.py"
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]


def test_the_platform_accepts_the_metadata(pack):
    """Title 6 to 50 characters, owner/slug with a slug of 6 to 50 without underscores, exactly one licence."""
    metadata = json.loads((pack / "dataset-metadata.json").read_text())
    owner, slug = metadata["id"].split("/")
    assert owner == "some-one" and 6 <= len(slug) <= 50 and "_" not in slug
    assert 6 <= len(metadata["title"]) <= 50 and len(metadata["licenses"]) == 1


def test_a_users_recipe_travels(tmp_path):
    (tmp_path / "mine.py").write_text("x = 1\n")
    make_pack(tmp_path / "pack", PackOrder(recipe=tmp_path / "mine.py", wheels=False), owner="me")
    assert (tmp_path / "pack" / "mine.py").read_text() == "x = 1\n"
    assert "mine.py" in json.loads((tmp_path / "pack" / "imettk-pack.json").read_text())["files"]


def test_an_older_pack_is_replaced_but_no_other_folder(pack, tmp_path):
    make_pack(pack, PackOrder(wheels=False), owner="me")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("x")
    with pytest.raises(DataError, match="not empty and not an older pack"):
        make_pack(tmp_path / "other", PackOrder(wheels=False), owner="me")
    assert (tmp_path / "other" / "thesis.tex").exists()


@pytest.mark.parametrize("place", ["imettk", "."])
def test_an_unpacked_package_is_checked_too(pack, place):
    """The platform unpacks zips, into a folder of their name or without one."""
    with zipfile.ZipFile(pack / "imettk.zip") as archive:
        archive.extractall(pack / place)
    (pack / "imettk.zip").unlink()
    assert check_pack(pack) == []
    source = pack / place / "imettk" / "errors.py"
    source.write_text(source.read_text() + "# changed\n")
    with pytest.raises(DataError, match=r"errors\.py is damaged"):
        check_pack(pack)


def test_another_pack_is_refused_and_its_hash_is_that_of_its_content(pack, tmp_path):
    digest = json.loads((pack / "imettk-pack.json").read_text())["pack"]
    assert check_pack(pack, wanted=digest) == []
    (tmp_path / "mine.py").write_text("x = 1\n")
    other = make_pack(tmp_path / "other", PackOrder(recipe=tmp_path / "mine.py", wheels=False), owner="some-one")
    assert other != digest
    assert (
        make_pack(tmp_path / "again", PackOrder(wheels=False), owner="another") == digest
    )  # the owner is not part of it
    with pytest.raises(MismatchError, match=f"is pack {other}, but this kernel was written for {digest}"):
        check_pack(tmp_path / "other", wanted=digest)


def test_metadata_of_this_dataset_are_kept_and_those_of_another_are_not_replaced(pack, tmp_path):
    path = pack / "dataset-metadata.json"
    edited = {"title": "My code", "id": "some-one/imettk-pack", "licenses": [{"name": "CC0-1.0"}], "keywords": []}
    path.write_text(json.dumps(edited))
    make_pack(pack, PackOrder(wheels=False), owner="some-one")
    assert json.loads(path.read_text()) == edited
    with pytest.raises(DataError, match=r"belongs to dataset some-one/imettk-pack, not to me/imettk-pack: nothing is"):
        make_pack(pack, PackOrder(wheels=False), owner="me")
    assert json.loads(path.read_text()) == edited


def test_the_manifest_of_a_pack_is_known_without_making_one(pack, tmp_path):
    (tmp_path / "mine.py").write_text("x = 1\n")
    manifest = make_manifest(PackOrder(recipe=tmp_path / "mine.py", wheels=False))
    assert manifest["files"]["mine.py"] == hashlib.sha256(b"x = 1\n").hexdigest()
    assert make_manifest(PackOrder(wheels=False)) == json.loads((pack / "imettk-pack.json").read_text())
    assert manifest["pack"] == make_pack(
        tmp_path / "other", PackOrder(recipe=tmp_path / "mine.py", wheels=False), owner="me"
    )


def test_a_kill_while_an_older_pack_is_replaced_blocks_nothing(pack, monkeypatch):
    rename = Path.rename

    def killed(self: Path, target: Path) -> Path:
        if target == pack:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        make_pack(pack, PackOrder(wheels=False), owner="some-one")
    monkeypatch.undo()
    make_pack(pack, PackOrder(wheels=False), owner="some-one")
    assert check_pack(pack) == []


@pytest.mark.parametrize("name", ["mine.txt", "imettk-pack.json", "dataset-metadata.json"])
def test_no_file_takes_the_place_of_another(tmp_path, name):
    """A dataset is flat, so of two files with the same name only one would travel."""
    paths = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        paths.append(tmp_path / folder / (name if folder == "a" else name.upper()))
        paths[-1].write_text(folder)
    with pytest.raises(DataError, match="would be in the pack twice"):
        make_pack(tmp_path / "pack", PackOrder(wheels=False, extra=paths), owner="me")
    if name.endswith(".json"):
        with pytest.raises(DataError, match="would be in the pack twice"):
            make_pack(tmp_path / "pack", PackOrder(wheels=False, extra=paths[:1]), owner="me")
    assert not (tmp_path / "pack").exists()


def test_missing_libraries_are_named(pack, tmp_path):
    """The libraries installed here satisfy setup.py."""
    assert missing_libraries(pack, tmp_path) == []
    manifest = json.loads((pack / "imettk-pack.json").read_text())
    assert manifest["python"] == ">=3.11"
    manifest["needs"] += ["no-such-library>=1", "numpy>=99"]
    manifest["python"] = ">=4"
    (pack / "imettk-pack.json").write_text(json.dumps(manifest))
    assert missing_libraries(pack, tmp_path) == [
        f"Python>=4 (here: {sys.version.split()[0]})",
        "no-such-library>=1 (here: nothing)",
        f"numpy>=99 (here: {metadata.version('numpy')})",
    ]


def test_damage_is_found_where_it_is_mounted(pack):
    assert check_pack(pack) == []
    content = bytearray((pack / "imettk.zip").read_bytes())
    content[100] ^= 1
    (pack / "imettk.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"imettk\.zip is damaged"):
        check_pack(pack)


def test_a_failed_wheel_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(UserError, match=r"wheels could not be built .* --no-wheels"):
        make_pack(tmp_path / "pack", PackOrder(), owner="me")
    monkeypatch.setattr("imettk.kaggle.pack.WHEELS", ("no-such-package-of-imettk",))
    with pytest.raises(UserError, match="no-such-package-of-imettk is not installed"):
        make_pack(tmp_path / "pack", PackOrder(), owner="me")


def test_libraries_for_the_recipes_files_are_checked_in_the_session(tmp_path, monkeypatch, capsys):
    """The manifest lists the libraries of an extra; a missing one is named with the file to add."""
    lines = ["torch>=2.6", 'no-such-library>=3; extra == "dicom"', 'scans>=1.0; extra == "dicom"', 'x; extra == "test"']
    requires = metadata.requires
    monkeypatch.setattr(metadata, "requires", lambda name: lines if name == "imettk" else requires(name))
    make_pack(tmp_path / "pack", PackOrder(wheels=False, formats=("dicom",)), owner="me")
    manifest = json.loads((tmp_path / "pack" / "imettk-pack.json").read_text())
    assert (manifest["needs"], manifest["formats"]) == (
        ["torch>=2.6"],
        {"dicom": ["no-such-library>=3", "scans>=1.0"]},
    )
    site = tmp_path / "site"
    (site / "scans-1.2.dist-info").mkdir(parents=True)
    (site / "scans-1.2.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: scans\nVersion: 1.2\n")
    (fault,) = missing_libraries(tmp_path / "pack", site)
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert fault.startswith("no-such-library>=3 (here: nothing), which the recipe's files may need: `pip download")
    assert f"--python-version {python}" in fault and fault.endswith("no-such-library`, and give the file as --add")
    assert capsys.readouterr().out.count("this image lacks") == 0
    lines[1:3] = lines[2:0:-1]  # now the missing library only decodes some of the files
    make_pack(tmp_path / "pack", PackOrder(wheels=False, formats=("dicom",)), owner="me")
    assert missing_libraries(tmp_path / "pack", site) == []
    assert "note: this image lacks no-such-library>=3 (here: nothing)" in capsys.readouterr().out


def test_only_wheels_that_fit_every_python_are_packed_for_formats(monkeypatch, tmp_path):
    built = []
    monkeypatch.setattr(packing, "_build_wheels", lambda out, names: built.extend(names))
    monkeypatch.setattr(packing, "requirements", lambda extra="": ["numpy>=1", "tqdm>=4"] if extra else [])
    make_pack(tmp_path / "pack", PackOrder(formats=("any",)), owner="me")
    assert built == [*packing.WHEELS, "tqdm"]  # numpy is compiled
    monkeypatch.setattr(packing, "requirements", lambda extra="": ["no-such-library"] if extra else [])
    with pytest.raises(UserError, match=r"no-such-library, which the recipe's files need, is not installed"):
        make_pack(tmp_path / "other", PackOrder(formats=("any",)), owner="me")


def test_a_compiled_wheel_that_claims_to_be_pure_is_not_packed(monkeypatch):
    """The wheel of python-gdcm claims it."""
    wheel = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {}\n"

    class Distribution:
        tag = "cp311-cp311-manylinux_2_17_x86_64"

        def read_text(self, name):
            return wheel.format(self.tag)

    monkeypatch.setattr(metadata, "distribution", lambda name: Distribution())
    assert not packing._is_pure("scans")
    Distribution.tag = "py3-none-any"
    assert packing._is_pure("scans")


def test_an_unknown_extra_is_refused(tmp_path):
    with pytest.raises(UserError, match="the installed imettk has no extra named scans: install imettk again"):
        make_pack(tmp_path / "pack", PackOrder(wheels=False, formats=("scans",)), owner="me")
