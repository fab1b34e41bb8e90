"""Rows of a miniature, by the labels that each row has."""

import numpy as np

from imettk.synthetic.miniature import IMAGES_A_LABEL, choose_rows

FIRST = np.zeros(40, int)  # all rows are of the training table


def test_rows_with_several_labels_are_spread_over_the_table():
    labels = [(0,), (1, 2), (), (3,)] * 10
    assert choose_rows(labels, FIRST, 4).tolist() == [0, 13, 26, 39]
    assert choose_rows(labels, FIRST, 100).tolist() == [*range(40)]


def test_rows_with_one_label_are_some_of_the_most_frequent():
    labels = [(2,)] * 3 + [(5,)] * 12 + [(6,)] * 12 + [(-1,)] * 13
    fives, sixes = [*range(3, 3 + IMAGES_A_LABEL)], [*range(15, 15 + IMAGES_A_LABEL)]
    assert choose_rows(labels, FIRST, 8).tolist() == [*fives, 27]  # an eighth as many of no known identity
    assert choose_rows(labels, FIRST, 16).tolist() == [*fives, *sixes, 27, 28]  # of as many rows the lower label first
    assert choose_rows(labels, FIRST, 17).tolist() == [0, 1, 2, *fives, *sixes, 27, 28]


def test_a_further_table_gives_rows_of_labels_that_are_there():
    labels = [(0, 1)] * 8 + [(2,), (0,), (0, 2), (), (1, 0), (1,)]
    sources = np.repeat([0, 1], [8, 6])
    assert choose_rows(labels, sources, 8).tolist() == [*range(8), 9, 11, 12, 13]
    only_new = labels[:8] + [(2,)] * 6
    assert choose_rows(only_new, sources, 8).tolist() == [*range(8), 8, 9, 10, 11]
    assert choose_rows(only_new, sources, 8)[8:].size == max(4, 8 // 4)
