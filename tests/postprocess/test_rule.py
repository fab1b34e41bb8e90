"""Rules survive their JSON, and give the answers that they say."""

import json

import numpy as np
import pytest

from imettk.errors import MismatchError
from imettk.postprocess.rule import Rule, relative_to_row, top_labels

PROBS = np.random.default_rng(0).random((20, 3)).astype(np.float32)
RULES = [
    Rule("argmax"),
    Rule("threshold", (0.5, 0.25, 2.0)),
    Rule("threshold", (0.9, 0.9, 0.9), min_labels=1, max_labels=2),
    Rule("threshold", (0.7, 0.8, 1.0), relative=True),
    Rule("share", shares=(0.1, 0.5, 0.0), min_labels=1),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kind)
def test_a_rule_read_back_from_json_gives_the_same_answers(rule):
    again = Rule.from_json(json.loads(json.dumps(rule.to_json())))
    assert again == rule
    np.testing.assert_array_equal(again.apply(PROBS), rule.apply(PROBS))


@pytest.mark.parametrize("content", [{}, [], None, {"thresholds": [0.5]}, {"kind": "threshold", "fill_empty": True}])
def test_what_is_no_rule_of_this_version_is_refused(content):
    with pytest.raises(MismatchError, match=r"rule.json holds .*validate"):
        Rule.from_json(content)


def test_a_label_at_its_threshold_is_chosen_and_empty_rows_are_filled_on_request():
    probs = np.array([[0.5, 0.1, 0.2], [0.1, 0.3, 0.2], [0.6, 0.7, 0.9]], np.float32)
    thresholds = (0.5, 0.7, 0.8)
    plain = [[True, False, False], [False, False, False], [True, True, True]]
    assert Rule("threshold", thresholds).apply(probs).tolist() == plain
    plain[1][1] = True
    assert Rule("threshold", thresholds, min_labels=1).apply(probs).tolist() == plain
    plain[2][0] = False
    assert Rule("threshold", thresholds, min_labels=1, max_labels=2).apply(probs).tolist() == plain


def test_the_likeliest_class_and_thresholds_relative_to_the_row():
    answer = Rule("argmax").apply(np.array([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3]], np.float32))
    assert (answer.tolist(), answer.dtype) == ([1, 0], np.int64)
    probs = np.array([[0.02, 0.01], [0.8, 0.1], [0.0, 0.0]], np.float32)
    np.testing.assert_allclose(relative_to_row(probs), [[1, 0.5], [1, 0.125], [0, 0]])
    assert Rule("threshold", (0.5, 0.5), relative=True).apply(probs).tolist() == [
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
