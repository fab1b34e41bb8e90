"""Rules survive a round trip through JSON and give the answers that they promise."""

import json

import numpy as np
import pytest
from threshold_tables import LIMITS, limited_by_hand, make

from imettk.errors import MismatchError
from imettk.postprocess.ratio import share_thresholds
from imettk.postprocess.rule import Likeliest, Shares, Thresholds, limit_labels, relative_to_row, top_labels

PROBS = np.random.default_rng(0).random((20, 3)).astype(np.float32)
RULES = [
    Likeliest(),
    Thresholds(thresholds=(0.5, 0.25, 2.0)),
    Thresholds(thresholds=(0.9, 0.9, 0.9), min_labels=1, max_labels=2),
    Thresholds(thresholds=(0.7, 0.8, 1.0), relative=True),
    Shares(shares=(0.1, 0.5, 0.0), min_labels=1),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kind)
def test_a_rule_read_back_from_json_gives_the_same_answers(rule):
    again = type(rule).from_json(json.loads(json.dumps(rule.to_json())))
    assert again == rule
    np.testing.assert_array_equal(again.apply(PROBS), rule.apply(PROBS))


@pytest.mark.parametrize("content", [{}, [], None, {"thresholds": [0.5]}, {"kind": "threshold", "fill_empty": True}])
def test_what_is_no_rule_of_this_version_is_refused(content):
    with pytest.raises(MismatchError, match=r"rule.json holds .*validate"):
        Thresholds.from_json(content)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kind)
def test_a_rule_with_junk_in_it_is_refused(rule):
    for name in rule.to_json():
        for junk in (
            "x",
            [None],
            ["0.5"],
            [[0.5]],
            {},
            -1,
            0.5,
            [float("nan")],
            *([None] if name != "max_labels" else []),
        ):
            with pytest.raises(MismatchError, match=r"rule\.json holds .*validate"):
                type(rule).from_json(rule.to_json() | {name: junk})


def test_a_label_at_its_threshold_is_chosen_and_empty_rows_are_filled_on_request():
    probs = np.array([[0.5, 0.1, 0.2], [0.1, 0.3, 0.2], [0.6, 0.7, 0.9]], np.float32)
    thresholds = (0.5, 0.7, 0.8)
    plain = [[True, False, False], [False, False, False], [True, True, True]]
    assert Thresholds(thresholds=thresholds).apply(probs).tolist() == plain
    plain[1][1] = True
    assert Thresholds(thresholds=thresholds, min_labels=1).apply(probs).tolist() == plain
    plain[2][0] = False
    assert Thresholds(thresholds=thresholds, min_labels=1, max_labels=2).apply(probs).tolist() == plain


def test_the_likeliest_class_and_thresholds_relative_to_the_row():
    answer = Likeliest().apply(np.array([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3]], np.float32))
    assert (answer.tolist(), answer.dtype) == ([1, 0], np.int64)
    probs = np.array([[0.02, 0.01], [0.8, 0.1], [0.0, 0.0]], np.float32)
    np.testing.assert_allclose(relative_to_row(probs), [[1, 0.5], [1, 0.125], [0, 0]])
    assert Thresholds(thresholds=(0.5, 0.5), relative=True).apply(probs).tolist() == [
        [True, True],
        [True, False],
        [False] * 2,
    ]


@pytest.mark.parametrize("count", [0, 1, 3, 9])
def test_the_top_labels_are_those_of_a_stable_sort(count):
    for seed in range(20):
        probs = np.round(np.random.default_rng(seed).random((15, 6)), 1).astype(np.float32)
        expected = np.argsort(-probs, axis=1, kind="stable")[:, :count]
        np.testing.assert_array_equal(top_labels(probs, count), expected)


def test_json_names_every_field_and_the_error_every_unknown_one():
    content = Shares(shares=(0.5,), max_labels=3).to_json()
    assert set(content) == {"kind", "shares", "relative", "min_labels", "max_labels"}
    with pytest.raises(MismatchError, match=r"rule\.json holds alpha, zeta, unknown to"):
        Shares.from_json(content | {"zeta": 1, "alpha": [2]})
    assert Likeliest.from_json({"kind": "argmax"}) == Likeliest()


def test_a_rule_that_an_earlier_version_wrote_is_read():
    """Earlier versions wrote the fields of all kinds into every rule."""
    content = {
        "kind": "threshold",
        "thresholds": [0.5],
        "shares": [],
        "relative": False,
        "min_labels": 1,
        "max_labels": None,
    }
    assert Thresholds.from_json(content) == Thresholds(thresholds=(0.5,), min_labels=1)
    argmax = content | {"kind": "argmax", "thresholds": [], "min_labels": 0}
    assert Likeliest.from_json(argmax) == Likeliest()


@pytest.mark.parametrize("relative", [False, True])
def test_a_share_is_of_the_rows_that_the_rule_is_applied_to(relative):
    shares = (0.2, 0.5, 0.0)
    rule = Shares(shares=shares, relative=relative)
    for probs in (PROBS, PROBS / 100, PROBS[:10] ** 3):
        scale = relative_to_row(probs) if relative else probs
        np.testing.assert_array_equal(rule.thresholds_for(scale), share_thresholds(scale, np.array(shares)))
        by_hand = scale >= share_thresholds(scale, np.array(shares)).astype(np.float32)
        np.testing.assert_array_equal(rule.apply(probs), by_hand)
        if not relative:
            assert rule.apply(probs).sum(0).tolist() == [round(share * len(probs)) for share in shares]
    filled = Shares(shares=shares, relative=relative, min_labels=1, max_labels=1).apply(PROBS)
    assert (filled.sum(1) == 1).all()


def test_the_thresholds_of_a_rule_are_its_own_or_those_of_its_shares():
    assert Thresholds(thresholds=(0.1, 0.2, 2.0)).thresholds_for(PROBS).tolist() == [0.1, 0.2, 2.0]
    thresholds = Shares(shares=(0.0, 1.0, 0.5)).thresholds_for(PROBS)
    assert thresholds.dtype == np.float64 and thresholds[0] == 2 and thresholds[1] == PROBS[:, 1].min()
    for rule in (Thresholds(thresholds=(0.1, 0.2)), Shares(shares=(0.1, 0.2))):
        with pytest.raises(MismatchError, match="for 2 labels, the predictions have 3"):
            rule.thresholds_for(PROBS)


def test_a_threshold_is_rounded_to_the_type_of_the_probabilities():
    """A probability equal to the threshold is chosen in float32 as in float64."""
    for dtype in (np.float16, np.float32, np.float64):
        assert Thresholds(thresholds=(0.1, 0.7)).apply(np.array([[0.1, 0.7]], dtype)).all()


def test_limits_follow_probabilities_that_differ_in_their_last_digit():
    low = np.float32(0.3)
    probs = np.array([[low, np.nextafter(low, np.float32(1)), 0.1]])
    for mask in ([True, True, False], [True, True, True], [False, True, False], [False] * 3):
        answer = limit_labels(np.array([mask]), probs, min_labels=1, max_labels=1)
        assert answer.tolist() == [[False, True, False]]
    unlikely = limit_labels(np.array([[False, False, True]]), probs, min_labels=2, max_labels=2)
    assert unlikely.tolist() == [[False, True, True]]  # what is chosen stays, however unlikely


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(("low", "high"), LIMITS)
def test_limits_are_those_of_a_plain_loop_however_small_the_probabilities(low, high, dtype):
    for seed in range(30):
        rng = np.random.default_rng(seed)
        probs = (rng.random((40, 6)) ** rng.choice([1, 30, 300], (40, 1))).astype(dtype)  # down to 0, with ties there
        chosen = rng.random(probs.shape) < rng.random((40, 1))
        before = probs.copy()
        answer = limit_labels(chosen.copy(), probs, min_labels=low, max_labels=high)
        np.testing.assert_array_equal(answer, limited_by_hand(chosen, probs, low, high))
        np.testing.assert_array_equal(probs, before)


@pytest.mark.parametrize(("low", "high"), LIMITS)
def test_limits_are_those_of_a_plain_loop(low, high):
    for seed in range(10):
        probs, _ = make(seed, num_samples=30, num_classes=6, decimals=1)
        chosen = probs >= 0.4
        expected = limited_by_hand(chosen, probs, low, high)
        np.testing.assert_array_equal(limit_labels(chosen, probs, min_labels=low, max_labels=high), expected)


def test_a_rule_for_other_labels_is_refused():
    with pytest.raises(MismatchError, match="for 2 labels, the predictions have 3"):
        Thresholds(thresholds=(0.1, 0.2)).apply(np.zeros((4, 3), np.float32))
