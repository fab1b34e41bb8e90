"""A pack is searched on the platform before it is uploaded, and identified by its manifest there."""

from __future__ import annotations

import json

from pack_versions import PACK, held, upload

from imettk.kaggle.packs import pack_digest, read_manifest


def test_a_pack_is_searched_on_the_platform_before_it_is_uploaded(kaggle, out, mine):
    box, account = kaggle
    first, digest = upload(account, out)
    second, other = upload(account, out, mine)
    assert (first, second) == (f"{PACK}/1", f"{PACK}/2") and held(box, first) == digest != other == held(box, second)
    assert upload(account, out) == (first, digest)
    assert upload(account, out.parent / "of-another-machine", mine) == (second, other)
    assert len(box.datasets[PACK].versions) == 2
    assert sorted(path.name for path in box.datasets[PACK].versions[1].iterdir()) == [
        "imettk", "imettk-pack.json", "mine.py",
    ]  # fmt: skip


def test_the_manifest_of_a_version_can_be_read(kaggle, out, mine):
    box, account = kaggle
    pinned, digest = upload(account, out, mine)
    assert pack_digest(account, pinned) == digest
    manifest = read_manifest(account, pinned)
    assert manifest is not None and manifest == json.loads((out / "imettk-pack.json").read_text())
    assert "mine.py" in manifest["files"]
    assert pack_digest(account, f"{PACK}/2") is None and pack_digest(account, "me/none/1") is None
    (box.root / "photos").mkdir()
    (box.root / "photos" / "imettk-pack.json").write_text("no pack")
    box.add_dataset("me/photos", box.root / "photos")
    assert pack_digest(account, "me/photos/1") is None
