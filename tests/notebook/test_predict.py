"""Images of all kinds get the answers that the command line gives."""

import numpy as np
import pytest
from PIL import Image
from tiny import SMALL, TINY, run

import imettk
from imettk.errors import DataError, MissingFileError


@pytest.fixture(scope="module")
def trained(digits_data, tmp_path_factory, no_charts_here):
    """Train one fold, and validate."""
    folder, data = tmp_path_factory.mktemp("predict") / "run", digits_data / "data"
    common = ["digits", "--data", data, "--run-dir", folder, *TINY, *SMALL]
    for command in (["prepare"], ["train", "--fold", 0], ["validate"]):
        run(command[0], *common, *command[1:])
    return imettk.open_run(folder, data=data)


def test_paths_arrays_and_pictures_of_an_image_get_one_answer(trained, digits_data, capsys):
    path = sorted((digits_data / "data" / "test").glob("*"))[0]
    run("infer", "--run-dir", trained.path, "--data", trained.data, "--images", path)
    printed = capsys.readouterr().out.splitlines()[-1].partition(": ")[2]
    picture = Image.open(path)
    frame = imettk.predict(trained, [path, str(path), np.array(picture), picture], fold=0)
    assert frame["answer"].tolist() == [printed] * 4
    probs = frame.drop(columns=["id", "answer"])
    assert probs.shape[1] == 15 and (probs == probs.iloc[0]).all().all()
    assert imettk.predict(trained, np.array([str(path)]), fold=0)["answer"].tolist() == [printed]
    # The test set's predictions of the same image, which another command made.
    run("infer", "--run-dir", trained.path, "--data", trained.data)
    row = trained.test.set_index("id").loc[path.stem]
    assert np.allclose(row.to_numpy(float), probs.iloc[0].to_numpy(float), atol=2e-3)  # in batches of other sizes


def test_what_is_no_image_is_named(trained, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    good = np.zeros((32, 32), np.uint8)
    frame = imettk.predict(trained, [tmp_path / "bad.png", good])
    assert frame["answer"].isna().tolist() == [True, False] and frame.iloc[0, 2:].isna().all()
    for wrong, message in ((good / 2, "float64"), (good[None], r"\(1, 32, 32\)"), (3, "got int")):
        with pytest.raises(DataError, match=message):
            imettk.predict(trained, [wrong])
    with pytest.raises(MissingFileError, match="no file in an empty list"):
        imettk.predict(trained, [])
    with pytest.raises(MissingFileError, match="neither a file nor a folder"):
        imettk.predict(trained, tmp_path / "none.png")
