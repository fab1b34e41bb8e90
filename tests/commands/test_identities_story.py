"""A competition in identities from table to submission, in humpback2018's format, and what follows from its files."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from imettk.cli.main import main
from imettk.commands.replace_labels import _Embedded
from imettk.data.sample_table import SampleTable
from imettk.errors import MismatchError
from imettk.evaluation.embeddings import read_fold_files
from imettk.inference.predictor import load_predictions
from imettk.metrics.ranked import map_at_k
from imettk.synthetic.whales import WhalesSize, make_whales
from imettk.tracking.tensors import read_tensors

pytestmark = pytest.mark.usefixtures("no_charts_here")
SMALL = [
    "--folds.num-folds", 2, "--model.backbone", "timm:test_resnet", "--session.num-workers", 0, "--images.image-size",
    32, 64, "--model.embedding-size", 16, "--stages.0.num-epochs", 3, "--stages.0.batch-size", 16,
    "--stages.0.warmup-epochs", 0.5, "--table.merged-csv", "duplicate_ids.csv", "--predict.batch-size", 16,
]  # fmt: skip


def command(*words):
    main([str(word) for word in words])


@pytest.fixture(scope="module")
def whales(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whales")
    make_whales(folder / "data", folder / "answers.csv", size=WhalesSize())
    return folder


def run_all(whales, name, recipe, *options):
    run = whales / name
    common = ["--data", whales / "data", "--run-dir", run]
    command("prepare", recipe, *common, *SMALL, *options)
    command("train", *common)
    command("validate", *common)
    command("infer", *common, "--answers", whales / "answers.csv")
    return run


@pytest.fixture(scope="module")
def triplets(whales):
    return run_all(whales, "triplets", "humpback2018")


@pytest.fixture(scope="module")
def arcface(whales):
    return run_all(
        whales,
        "arcface",
        "humpback2018-arcface",
        "--model.joint-dropout",
        0.2,
        "--ranking.expand",
        2,
        "--ranking.rerank",
        5,
    )


def embeddings_by_id(run, fold, *names):
    found = {}
    for name in names:
        one = load_predictions(run / f"fold{fold}" / f"{name}.safetensors")
        found |= dict(zip(one.ids.tolist(), one.merged_embeddings, strict=True))
    return found


def test_answers_are_the_identities_of_the_nearest_images_and_new_whale_by_its_threshold(whales, triplets):
    """Recomputed from the prediction files in plain Python, over both folds' models."""
    train = pd.read_csv(whales / "data" / "train.csv", dtype=str).set_index("Image")["Id"]
    merged = pd.read_csv(whales / "data" / "duplicate_ids.csv", dtype=str)["SubId"].str.split()
    counts = train.value_counts()
    for names in merged:
        kept = max(names, key=lambda name: counts.get(name, 0))
        train = train.replace({name: kept for name in names})
    threshold = json.loads((triplets / "rule.json").read_text())["unknown_threshold"]
    known = [embeddings_by_id(triplets, fold, "gallery", "oof") for fold in (0, 1)]
    queries = [embeddings_by_id(triplets, fold, "test") for fold in (0, 1)]
    submission = pd.read_csv(triplets / "submission.csv", dtype=str).set_index("Image")["Id"]
    gallery = [name for name in train.index if train[name] != "new_whale" and name in known[0] and name in known[1]]
    for query, answer in submission.items():
        best = {}
        for name in gallery:
            cosine = np.mean([known[fold][name] @ queries[fold][query] for fold in (0, 1)])
            best[train[name]] = max(best.get(train[name], -1), cosine)
        ranked = sorted(best, key=lambda label: -best[label])[:5]
        place = sum(best[label] >= threshold for label in ranked)
        expected = [*ranked[:place], "new_whale", *ranked[place:]][:5]
        found = answer.split()
        assert len(found) == 5 == len(set(found))
        scores = [best.get(label, threshold) for label in found]
        assert scores == pytest.approx([best.get(label, threshold) for label in expected], abs=1e-5)


def test_the_test_score_is_that_of_the_answers(whales, triplets):
    answers = pd.read_csv(whales / "answers.csv", dtype=str).set_index("Image")["Id"]
    submission = pd.read_csv(triplets / "submission.csv", dtype=str).set_index("Image")["Id"].str.split()
    merged = pd.read_csv(whales / "data" / "duplicate_ids.csv", dtype=str)["SubId"].str.split()
    same = {name: frozenset(names) for names in merged for name in names}
    known = set(pd.read_csv(whales / "data" / "train.csv", dtype=str)["Id"])
    points = []
    for name, row in submission.items():
        truth = same.get(answers[name], {answers[name] if answers[name] in known else "new_whale"})
        points.append(max([1 / (place + 1) for place, label in enumerate(row) if label in truth], default=0))
    assert json.loads((triplets / "scores.json").read_text())["test"] == pytest.approx(np.mean(points))


def test_unknown_and_single_images_never_train_and_validation_rows_are_not_in_their_own_gallery(whales, triplets):
    table = pd.read_csv(whales / "data" / "train.csv", dtype=str).set_index("Image")["Id"]
    for fold in (0, 1):
        gallery = load_predictions(triplets / f"fold{fold}" / "gallery.safetensors")
        oof = load_predictions(triplets / f"fold{fold}" / "oof.safetensors")
        assert not set(gallery.ids) & set(oof.ids)
        assert (table[oof.ids] == "new_whale").any()
        assert ((table[gallery.ids] == "new_whale").to_numpy() == (gallery.targets < 0)).all()
        assert gallery.probs.shape[2] == 0 and gallery.embeddings.shape[::2] == (2, 16)
    model = read_tensors(triplets / "fold0" / "model.safetensors")
    assert not any("centres" in name for name in model.tensors)


def test_scores_say_what_a_user_looks_for(triplets, arcface):
    for run in (triplets, arcface):
        scores = json.loads((run / "scores.json").read_text())
        assert scores["title"] == "MAP@5" and set(scores["folds"]) == {"0", "1"}
        assert {"top1", "recall@5", "unknown_auc", "interval", "constant"} <= set(scores)
        for picture in ("ranking_worst.png", "ranking_some.png", "label_conflicts.png", "label_conflicts.csv"):
            assert (run / picture).is_file()
    assert "without_refinement" in json.loads((arcface / "scores.json").read_text())
    events = [json.loads(line) for line in (arcface / "fold0" / "journal.jsonl").read_text().splitlines()]
    points = [event for event in events if event["event"] == "validate"]
    assert points and all({"loss", "score", "spread"} <= set(point) for point in points)


def test_mirrored_identities_are_classes_of_their_own_and_none_of_the_answers(whales, arcface):
    model = read_tensors(arcface / "fold0" / "model.safetensors")
    num_labels = len(model.values["labels"])
    assert model.tensors["head.centres"].shape[0] == 2 * num_labels
    assert model.tensors["head.joint.1.weight"].shape[0] == 2 * num_labels
    answered = set(pd.read_csv(arcface / "submission.csv", dtype=str)["Id"].str.split().explode())
    assert answered <= {*model.values["labels"], "new_whale"}


@pytest.mark.parametrize("method", ["mean", "fuse"])
def test_an_ensemble_of_one_run_with_itself_answers_as_that_run(whales, triplets, tmp_path, method, capsys):
    """Members of different names; `fuse` has a threshold on scores of its own folds, so only its ranks are the same."""
    twin = tmp_path / "twin"
    shutil.copytree(triplets, twin)
    run = tmp_path / "both"
    command("ensemble", "--data", whales / "data", "--run-dir", run, "--members", triplets, twin, "--method", method)
    ours, theirs = (json.loads((one / "scores.json").read_text()) for one in (triplets, run))
    assert theirs["oof"] == pytest.approx(ours["oof"], abs=1e-6) and theirs["folds"] == pytest.approx(ours["folds"])
    if method == "mean":
        same, other = (pd.read_csv(one / "submission.csv").sort_values("Image")["Id"] for one in (triplets, run))
        assert (same.to_numpy() == other.to_numpy()).mean() > 0.95  # the sum over more numbers may turn near ties
    assert "triplets" in capsys.readouterr().out


def test_two_models_are_joined_and_the_table_says_what_each_adds(whales, triplets, arcface, tmp_path, capsys):
    run = tmp_path / "joined"
    members = ["--members", triplets, arcface, "--weights", 1, 3]
    command("ensemble", "--data", whales / "data", "--run-dir", run, *members)
    assert json.loads((run / "ensemble.json").read_text())["weights"] == {"triplets": 0.25, "arcface": 0.75}
    text = capsys.readouterr().out
    assert "MAP@5" in text and "of 2 members" in text
    fold, truth = 0, []
    # Recomputed: the mean of both models' cosines, weighted.
    parts = [
        (embeddings_by_id(one, fold, "oof"), embeddings_by_id(one, fold, "gallery")) for one in (triplets, arcface)
    ]
    gallery = load_predictions(triplets / "fold0" / "gallery.safetensors")
    oof = load_predictions(triplets / "fold0" / "oof.safetensors")
    ranked = []
    for name, target in zip(oof.ids.tolist(), oof.targets.tolist(), strict=True):
        if target < 0 or target not in gallery.targets:
            continue
        best = {}
        for other, label in zip(gallery.ids.tolist(), gallery.targets.tolist(), strict=True):
            cosine = sum(w * (part[0][name] @ part[1][other]) for w, part in zip((0.25, 0.75), parts, strict=True))
            best[label] = max(best.get(label, -1), cosine)
        ranked.append(sorted(best, key=lambda label: -best[label])[:5])
        truth.append(target)
    assert map_at_k(np.array(ranked), np.array(truth)) > 0.1


@pytest.mark.parametrize("method", ["mean", "fuse"])
def test_a_member_without_weight_is_judged_alone_all_the_same(whales, triplets, arcface, tmp_path, method, capsys):
    run, members = tmp_path / "run", ["--members", triplets, arcface, "--method", method]
    command("ensemble", "--data", whales / "data", "--run-dir", run, *members, "--weights", 0, 1)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    rows = {
        words[0]: [float(word) for word in words[1:]] for words in lines if words[:1] in (["triplets"], ["arcface"])
    }
    alone, joined = (json.loads((one / "scores.json").read_text())["oof"] for one in (triplets, run))
    assert rows["triplets"][1] == pytest.approx(alone, abs=1e-4)
    assert rows["arcface"][1] == pytest.approx(joined, abs=1e-4)
    assert rows["triplets"][2] == 0 and rows["arcface"][2] == pytest.approx(joined - alone, abs=2e-4)


@pytest.mark.parametrize("count", [0, 3])
def test_a_hidden_test_set_of_another_size_is_answered(whales, triplets, tmp_path, count):
    """A competition's rerun: other ids, few of them or none."""
    data = tmp_path / "data"
    shutil.copytree(whales / "data", data)
    sample = pd.read_csv(data / "sample_submission.csv", dtype=str)
    names = [f"hidden{number}.jpg" for number in range(count)]
    for name, old in zip(names, sample["Image"], strict=False):
        shutil.copy(data / "test" / old, tmp_path / name)
    shutil.rmtree(data / "test")
    (data / "test").mkdir()
    for name in names:
        shutil.move(tmp_path / name, data / "test" / name)
    pd.DataFrame({"Image": names, "Id": ["new_whale"] * count}).to_csv(data / "sample_submission.csv", index=False)
    command("infer", "--data", data, "--run-dir", tmp_path / "run", "--inputs", triplets)
    found = pd.read_csv(tmp_path / "run" / "submission.csv", dtype=str, keep_default_na=False)
    assert list(found["Image"]) == names and list(found.columns) == ["Image", "Id"]
    known = {*pd.read_csv(data / "train.csv", dtype=str)["Id"], "new_whale"}
    assert all(len(set(row)) == 5 and set(row) <= known for row in found["Id"].str.split())


def test_single_pictures_get_answers_and_a_picture_of_their_neighbours(whales, triplets, tmp_path, capsys):
    """Also from a folder that only has the run as an input; as cut to their boxes, so a known image finds itself."""
    photo = sorted((whales / "data" / "train").iterdir())[0]
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    command("infer", "--data", whales / "data", "--inputs", triplets, "--run-dir", tmp_path, "--images", photo, broken)
    text = capsys.readouterr().out
    (line,) = [line for line in text.splitlines() if line.startswith(photo.name)]
    assert "(similarity 1.000)" in line and (tmp_path / "nearest.png").is_file()
    assert "broken.jpg: cannot be read" in text and "1 row (broken.jpg) without a box" in text
    assert "nearest to 1 of 1 pictures" in text


def test_what_single_pictures_lack_is_one_line_before_anything_is_predicted(whales, triplets, tmp_path, capsys):
    photo = sorted((whales / "data" / "test").iterdir())[0]
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    run = tmp_path / "run"
    shutil.copytree(triplets, run)

    def refusal(*images):
        with pytest.raises(SystemExit) as caught:
            command("infer", "--data", whales / "data", "--run-dir", run, "--images", *images)
        assert caught.value.code == 2
        return capsys.readouterr().err

    assert "no.jpg is neither a file nor a folder" in refusal(whales / "no.jpg")
    assert "1 image (broken.jpg) cannot be read" in refusal(broken)
    (run / "fold1" / "gallery.safetensors").unlink()
    assert "fold1/gallery.safetensors of its model is missing" in refusal(photo)
    (run / "rule.json").unlink()
    assert "rule.json is not in" in refusal(photo)
    with pytest.raises(SystemExit):
        command("infer", "--data", whales / "data", "--run-dir", run)
    said = capsys.readouterr()
    assert "--ranking.unknown-share" in said.err and "taken from" not in said.out


def test_embeddings_of_two_models_are_not_mixed(triplets, arcface, tmp_path):
    """As where a fold was trained and validated again, but not used for the test set again."""
    run = tmp_path / "run"
    shutil.copytree(triplets, run)
    shutil.copy(arcface / "fold0" / "test.safetensors", run / "fold0")
    with pytest.raises(
        MismatchError, match=r"fold0/test.safetensors and gallery.safetensors come from different models"
    ):
        read_fold_files(run)
    assert read_fold_files(tmp_path, [triplets]).keys() == {0, 1}


def test_features_of_other_images_are_one_line(triplets):
    strangers = SampleTable(np.array(["a", "b"]), np.array(["a.png", "b.png"]), ("x",), ("",))
    with pytest.raises(MismatchError, match="has embedded none of the table's rows"):
        _Embedded(strangers, triplets).out_of_fold()


def test_more_answers_than_labels_are_refused_before_anything_is_trained(whales, tmp_path, capsys):
    options = ["--data", whales / "data", "--run-dir", tmp_path, *SMALL, "--ranking.num-neighbours", 1000]
    names = set(pd.read_csv(whales / "data" / "train.csv", dtype=str)["Id"]) - {"new_whale"}
    merged = pd.read_csv(whales / "data" / "duplicate_ids.csv", dtype=str)["SubId"].str.split().str.len().sub(1).sum()
    most = len(names) - merged + 1  # and new_whale
    with pytest.raises(SystemExit):
        command("prepare", "humpback2018", *options, "--ranking.num-answers", most + 1)
    assert f"a row gets {most + 1} different answers, and there are {most}: set --ranking" in capsys.readouterr().err
    command("prepare", "humpback2018", *options, "--ranking.num-answers", most)


def test_one_fold_alone_says_that_its_threshold_has_seen_its_rows(whales, triplets, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(triplets, run)
    command("validate", "--data", whales / "data", "--run-dir", run, "--fold", 0)
    text = capsys.readouterr().out
    assert "1 of 2 folds" in text and "with one fold the rule is fitted on the rows that it is scored on" in text


def test_pseudo_labels_above_a_similarity_train_each_fold_on_what_its_own_gallery_says(whales, triplets, tmp_path):
    command("pseudo", "--run-dir", triplets, "--confidence", 0.6)
    file = load_predictions(triplets / "pseudo.safetensors")
    gallery = load_predictions(triplets / "fold1" / "gallery.safetensors")
    test = embeddings_by_id(triplets, 1, "test")
    for place, name in enumerate(file.ids.tolist()):
        cosines = np.where(gallery.targets >= 0, gallery.merged_embeddings @ test[name], -1)
        sure = cosines.max() >= 0.6
        assert file.values["sure"][1][place] == sure
        if sure:
            assert file.probs[1, place, 0] in gallery.targets[cosines >= cosines.max() - 1e-5]
    run = tmp_path / "again"
    common = ["--data", whales / "data", "--run-dir", run]
    command("prepare", "humpback2018", *common, *SMALL, "--stages.0.num-epochs", 1, "--stages.0.warmup-epochs", 0.1,
            "--pseudo", triplets)  # fmt: skip
    command("train", *common, "--fold", 1)
    assert json.loads((run / "fold1" / "status.json").read_text())["state"] == "done"


def test_a_start_from_similar_data_takes_all_but_the_classes(whales, arcface, tmp_path, capsys):
    common = ["--data", whales / "data", "--run-dir", tmp_path / "run"]
    weights = arcface / "fold0" / "model.safetensors"
    options = ["--model.weights", weights, "--stages.0.num-epochs", 1, "--stages.0.warmup-epochs", 0.1]
    command("prepare", "humpback2018-arcface", *common, *SMALL, *options)
    command("train", *common, "--fold", 0)
    assert "newly initialised: head.centres" in capsys.readouterr().out


def test_all_rows_train_where_the_scheme_says_so_and_the_test_set_is_answered_all_the_same(whales, tmp_path, capsys):
    common = ["--data", whales / "data", "--run-dir", tmp_path]
    options = ["--folds.scheme", "none", "--table.unknown-label", "None", "--stages.0.num-epochs", 1]
    command("prepare", "humpback2018", *common, *SMALL, *options, "--stages.0.warmup-epochs", 0.1)
    assert "all rows train" in capsys.readouterr().out
    command("train", *common, "--fold", 0)
    command("infer", *common)
    assert (tmp_path / "submission.csv").is_file()
    with pytest.raises(SystemExit) as caught:
        command("validate", *common)
    assert caught.value.code == 2 and "no row is validated" in capsys.readouterr().err
