"""From rankings to answers: truths, the unknown label, scored identities, and scores counted by plain loops."""

import math
from dataclasses import replace

import numpy as np
import pytest

from imettk.config import ModelConfig, RankConfig, Recipe, RuleConfig, StageConfig, TableFormat, TrainConfig
from imettk.data.sample_table import SampleTable
from imettk.errors import ConfigError, DataError
from imettk.evaluation.by_ranking import RankingJudge
from imettk.evaluation.embeddings import TableRows
from imettk.evaluation.identities import nearest_images
from imettk.evaluation.ranker import Gallery, Ranker
from imettk.experiment.known import read_known_answers
from imettk.postprocess.ranking import Ranked
from imettk.tracking.run_dir import RunDir

NAMES = ("ann", "bob", "cat", "dog")


def recipe_of(*, unknown="new", **ranking):
    by = ranking.get("by", "neighbours")
    return Recipe(
        table=TableFormat(task="multiclass", unknown_label=unknown),
        model=ModelConfig(head="embedding" if by == "neighbours" else "linear"),
        train=TrainConfig(loss="arcface" if by == "neighbours" else "cross_entropy"),
        rule=RuleConfig(kind="rank"),
        ranking=RankConfig(**({"num_answers": 3} | ranking)),
    )


def table_of(targets=(0, 0, 0, 1, 1, 2, 3, -1), sources=None):
    ids = np.array([f"r{row}" for row in range(len(targets))])
    return SampleTable(ids, ids, NAMES, ("",) * 4, targets=np.array(targets), sources=sources)


def ranked_of(labels, scores=None):
    labels = np.array(labels)
    given = np.linspace(0.9, 0.5, labels.shape[1]) if scores is None else scores
    return Ranked(labels, np.broadcast_to(np.asarray(given, np.float32), labels.shape))


def test_an_identity_that_could_not_be_found_is_unknown():
    ranker = Ranker(recipe_of(), table_of())
    assert ranker.truth(np.array([0, 3, -1]), np.array([0, 1, 2])).tolist() == [0, 4, 4]
    assert ranker.truth(np.array([0, 3, -1])).tolist() == [0, 3, 4]
    closed = Ranker(recipe_of(unknown=None), table_of((0, 1, 2, 3)))
    assert closed.unknown is None and closed.truth(np.array([0, 3]), np.array([0])).tolist() == [0, 3]


def test_rows_that_nobody_knows_may_be_left_out_of_the_scores():
    """The same numbers as of the other rows alone, and no threshold."""
    ranker = Ranker(recipe_of(judge_unknown=False), table_of())
    truth = ranker.truth(np.array([0, -1, 3, 1, -1]), np.array([0, 1, 2]))
    assert truth.tolist() == [0, -1, 4, 1, -1]  # dog is in no gallery: no answer can be right
    ranked = ranked_of([[0, 1, 2], [2, 1, 0], [0, 1, 2], [0, 1, 2], [1, 0, 2]])
    assert ranker.fit(ranked, truth) is None
    answers, groups = ranker.answer(ranked, None), np.array(["a", "b", "a", "c", "b"])
    some = [0, 2, 3]
    assert ranker.score(answers, truth) == pytest.approx((1 + 0 + 1 / 2) / 3)
    scores = ranker.scores(answers, ranked, truth, groups)
    assert scores == ranker.scores(
        answers[some], Ranked(ranked.labels[some], ranked.scores[some]), truth[some], groups[some]
    )
    assert scores["rows"] == 3 and scores["top1"] == pytest.approx(1 / 3) and "unknown_rows" not in scores
    assert math.isnan(ranker.score(answers[[1]], truth[[1]]))
    with pytest.raises(DataError, match="no row of known identity is validated"):
        ranker.scores(answers[[1, 4]], ranked, truth[[1, 4]], None)


def test_the_unknown_label_enters_where_similarities_fall_below_the_threshold():
    ranker = Ranker(recipe_of(), table_of())
    ranked = ranked_of([[2, 0, 1], [1, 2, 3]], [0.9, 0.6, 0.2])
    assert ranker.answer(ranked, 0.5).tolist() == [[2, 0, 4], [1, 2, 4]]
    assert ranker.answer(ranked, 0.95).tolist() == [[4, 2, 0], [4, 1, 2]]
    assert ranker.answer(ranked, 0.1).tolist() == ranker.answer(ranked, None).tolist() == [[2, 0, 1], [1, 2, 3]]


def test_the_unknown_label_is_the_surer_the_lower_the_score():
    ranker = Ranker(recipe_of(), table_of())
    ranked = Ranked(np.array([[2], [1], [1], [-1]]), np.array([[0.9], [0.6], [0.2], [-np.inf]], np.float32))
    answers = ranker.answer(ranked, 0.5)
    assert answers[:, 0].tolist() == [2, 1, 4, 4]
    assert ranker.sureness(answers, ranked, 0.5).tolist() == pytest.approx([0.4, 0.1, 0.3, -np.inf])
    assert ranker.sureness(answers, ranked, None).tolist() == pytest.approx([0.9, 0.6, 0.2, -np.inf])


def test_labels_of_duplicates_come_first_as_what_may_be_answered(tmp_path):
    """`known_answers.csv` knows identities; some are not scored, and where images are answered it says nothing."""
    cells = {"r0": ["dog"], "r1": ["bob"], "r2": ["new"]}
    (tmp_path / "known_answers.csv").write_text("id,label\nr0,dog\n")
    queries = table_of((0, 0, 0, 0))
    given = [["ann", "bob", "new"], ["ann", "new", "bob"], ["ann", "bob", "cat"], ["bob", "ann", "cat"]]
    labelled = table_of((0, 1, 2, 3), sources=np.array([0, 0, 0, 1], np.int16))

    def answers(**ranking):
        return RankingJudge(recipe_of(**ranking)).put_known(cells, labelled, queries, given)

    rest = [["bob", "ann", "new"], ["new", "ann", "bob"], given[3]]
    assert answers(by="probs", scored="train") == [["new", "ann", "bob"], *rest]  # dog stands in the second table alone
    assert answers(by="probs") == [["dog", "ann", "bob"], *rest]
    assert read_known_answers(RunDir(tmp_path), recipe_of(answers="images"), labelled, queries) == {}


def test_a_threshold_needs_unknown_rows_or_a_wanted_share():
    ranked = ranked_of([[0, 1, 2]] * 4)
    ranker = Ranker(recipe_of(), table_of())
    assert ranker.fit(ranked, np.zeros(4, np.int64)) is None
    assert ranker.fit(ranked, np.array([0, 0, 4, 4])) is not None
    wanted = Ranker(recipe_of(unknown_share=0.5), table_of())
    scores = np.array([[0.9, 0.1, 0.0], [0.8, 0.1, 0.0], [0.4, 0.1, 0.0], [0.2, 0.1, 0.0]], np.float32)
    ranked = Ranked(ranked.labels, scores)
    first = wanted.answer(ranked, wanted.fit(ranked, np.zeros(4, np.int64)))[:, 0]
    assert first.tolist() == [0, 0, 4, 4]


def test_a_query_without_neighbours_gets_the_unknown_label_and_then_the_most_frequent_ones():
    ranked = ranked_of([[-1, -1, -1], [3, -1, -1]], [-np.inf] * 3)
    assert Ranker(recipe_of(), table_of()).answer(ranked, None).tolist() == [[4, 0, 1], [3, 4, 0]]
    closed = Ranker(recipe_of(unknown=None), table_of((0, 0, 0, 1, 1, 2, 3)))
    assert closed.answer(ranked, None).tolist() == [[0, 1, 2], [3, 0, 1]]


def test_identities_that_are_not_scored_become_the_unknown_label_once():
    sources = np.array([0, 0, 0, 0, 0, 1, 1, 1], np.int16)  # cat and dog are of the extra table
    ranker = Ranker(recipe_of(by="probs", scored="train"), table_of(sources=sources))
    assert ranker.scored.tolist() == [True, True, False, False] and ranker.depth == 4
    probs = np.array([[0.1, 0.2, 0.4, 0.3], [0.4, 0.1, 0.2, 0.3]])
    assert ranker.answer(ranker.by_probs(probs), None).tolist() == [[4, 1, 0], [0, 4, 1]]
    assert ranker.truth(np.array([0, 2, 3, -1])).tolist() == [0, 4, 4, 4]
    assert ranker.fit(ranker.by_probs(probs), np.array([4, 4])) is None


def test_an_identity_is_as_near_as_its_images():
    gallery = Gallery(np.array([[1, 0], [0.8, 0.6], [0, 1], [np.nan, 0]], np.float32), np.array([0, 1, 2, 3]))
    ranker = Ranker(recipe_of(unknown=None), table_of((0, 1, 2, 3)))
    ranked = ranker.by_neighbours(np.array([[0.9, 0.1], [0.0, 2.0]], np.float32), gallery)
    assert ranked.labels.tolist() == [[0, 1, 2], [2, 1, 0]]  # what cannot be read is nowhere
    np.testing.assert_allclose(ranked.scores[1], [1, 0.6, 0], atol=1e-6)


@pytest.mark.parametrize("refined", [{}, {"expand": 2}, {"rerank": 3}], ids=["plain", "expanded", "reranked"])
def test_a_query_that_is_in_the_gallery_itself_says_nothing_of_itself(refined):
    """As a test image with a pseudo label: without `own` it would confirm whatever label it was given."""
    ranker = Ranker(recipe_of(num_answers=2, **refined), table_of())
    rows = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)
    labels, own = np.array([0, -1, 0, 1, 1, 2, 3]), np.array([6, -1, 5])  # each of the last two is alone with its label
    queries = rows[[6, 0, 5]]
    seen = ranker.by_neighbours(queries, Gallery(rows, labels))
    unseen = ranker.by_neighbours(queries, Gallery(rows, labels), own=own)
    assert seen.labels[:, 0].tolist() == [3, 0, 2]
    assert 3 not in unseen.labels[0] and 2 not in unseen.labels[2] and (unseen.labels >= 0).all()
    np.testing.assert_array_equal(unseen.labels[1], seen.labels[1])
    if not ranker.config.rerank:  # which compares sets that hold the image itself, too
        for query in (0, 2):
            others = np.arange(7) != own[query]
            alone = ranker.by_neighbours(queries[[query]], Gallery(rows[others], labels[others]))
            np.testing.assert_array_equal(unseen.labels[query], alone.labels[0])
            np.testing.assert_allclose(unseen.scores[query], alone.scores[0], rtol=1e-5)


def test_a_training_image_may_have_the_name_of_a_test_image():
    table = table_of((0, 1, 2, -1), sources=np.array([0, 0, 1, 0], np.int16))
    assert TableRows(table).own(np.array(["r2", "r1", "x", "r3"])).tolist() == [2, -1, -1, -1]


def test_the_nearest_images_are_none_twice_and_never_the_query():
    rows = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    ids, gallery_ids = np.array(["t0", "t1", "t2"]), np.array(["a", "t1", "b", "c"])
    gallery = rows[[3, 1, 4, 5]]  # t1 has a pseudo label, so it is in the training table as well
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    names = np.array(["t0", "t1", "t2", "a", "b", "c"])
    expected = [[names[row] for row in np.argsort(-(unit @ unit[query])) if row != query][:4] for query in range(3)]
    ranker = Ranker(recipe_of(answers="images", num_answers=4), table_of())
    assert nearest_images(ranker, rows[:3], ids, gallery, gallery_ids) == expected
    expanding = Ranker(recipe_of(answers="images", num_answers=4, expand=1, expand_power=0.0), table_of())
    for query, found in enumerate(nearest_images(expanding, rows[:3], ids, gallery, gallery_ids)):
        nearest = list(names).index(expected[query][0])  # the query becomes the middle between it and this one
        assert (unit[query] @ unit[nearest]) > 0
        middle = unit[query] + unit[nearest]
        assert found == [names[row] for row in np.argsort(-(unit @ middle)) if row != query][:4]


def test_query_expansion_moves_a_query_towards_its_neighbours():
    gallery = Gallery(np.array([[1, 0], [0, 1], [0.1, 1]], np.float32), np.array([0, 1, 1]))
    query = np.array([[0.75, 0.66]], np.float32)  # a little nearer to the first, with two behind it
    ranker = Ranker(recipe_of(unknown=None, expand=3), table_of((0, 1, 1, 2, 3)))
    assert ranker.by_neighbours(query, gallery, refine=False).labels[0, 0] == 0
    assert ranker.by_neighbours(query, gallery).labels[0, 0] == 1


def test_each_fold_is_answered_by_a_threshold_of_the_others():
    rng = np.random.default_rng(0)
    ranker = Ranker(recipe_of(), table_of())
    labels = np.stack([rng.permutation(4)[:3] for _ in range(60)])
    ranked = Ranked(labels, -np.sort(-rng.random((60, 3)).astype(np.float32), axis=1))
    truth, folds = rng.integers(0, 5, 60), np.arange(60) % 3
    answers = ranker.cross_fit(ranked, truth, folds)
    for fold in range(3):
        mine, others = folds == fold, folds != fold
        threshold = ranker.fit(Ranked(ranked.labels[others], ranked.scores[others]), truth[others])
        expected = ranker.answer(Ranked(ranked.labels[mine], ranked.scores[mine]), threshold)
        np.testing.assert_array_equal(answers[mine], expected)


def test_scores_are_those_of_plain_loops():
    rng = np.random.default_rng(3)
    ranker = Ranker(recipe_of(), table_of())
    answers = np.stack([rng.permutation(5)[:3] for _ in range(200)])
    truth = rng.integers(0, 5, 200)
    ranked = ranked_of(answers)
    found = ranker.scores(answers, ranked, truth, None)
    points = [
        1 / (row.tolist().index(true) + 1) if true in row else 0 for row, true in zip(answers, truth, strict=True)
    ]
    assert found["oof"] == pytest.approx(np.mean(points)) and found["interval"][0] < found["oof"] < found["interval"][1]
    assert found["top1"] == pytest.approx(np.mean([row[0] == true for row, true in zip(answers, truth, strict=True)]))
    assert found["recall@3"] == pytest.approx(np.mean(np.array(points) > 0))
    frequent = sorted(range(5), key=lambda one: -np.count_nonzero(truth == one))[:3]
    best = np.mean([1 / (frequent.index(true) + 1) if true in frequent else 0 for true in truth.tolist()])
    assert found["constant"] == pytest.approx(best)
    assert found["unknown_rows"] == np.count_nonzero(truth == 4) and found["unknown_auc"] == pytest.approx(0.5)


EMBEDS = recipe_of()


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"model": ModelConfig()}, "`model.head` embedding and a `train.loss` of embeddings"),
        ({"train": TrainConfig(loss="cross_entropy")}, "need each other, got embedding and cross_entropy"),
        (
            {"model": ModelConfig(head="embedding", centres=0)},
            "`model.centres` must be at least 1 for the cosines that arcface takes",
        ),
        ({"train": TrainConfig(loss="triplet", watch="score")}, "`model.centres` must be 0 for triplet, got 1"),
        (
            {"train": TrainConfig(loss="triplet"), "model": ModelConfig(head="embedding", centres=0)},
            "`train.watch` must be score with triplets",
        ),
        ({"train": TrainConfig(loss="arcface", teacher=("x",))}, "`train.teacher` mixes targets"),
        ({"stages": (StageConfig(mixup=0.2),)}, "`stages.0` mixes images"),
        ({"rule": RuleConfig(kind="argmax")}, "`table.unknown_label` needs `rule.kind` rank"),
        ({"table": TableFormat(task="multiclass", answer_columns=("a",))}, "one column an answer, got 1"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_what_does_not_fit_together_is_refused(changes, message):
    with pytest.raises(ConfigError) as caught:
        replace(EMBEDS, **changes)
    assert message in str(caught.value)


def test_a_classifier_needs_probs_and_scored_identities_an_unknown_label():
    classifier = recipe_of(by="probs")
    with pytest.raises(ConfigError, match=r"`ranking.by` neighbours needs a `model.head` embedding"):
        replace(classifier, ranking=RankConfig())
    with pytest.raises(ConfigError, match=r"`ranking.scored` train needs `table.unknown_label`"):
        recipe_of(by="probs", scored="train", unknown=None)
    with pytest.raises(ConfigError, match=r"`ranking.answers` images needs `ranking.by` neighbours"):
        recipe_of(by="probs", answers="images")
    with pytest.raises(ConfigError, match=r"`ranking.rerank` must be 0 with `ranking.answers` images, got 5"):
        recipe_of(answers="images", rerank=5)
