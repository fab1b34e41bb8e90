"""Rows belong together by the table's groups and by copies that were found, joined as networkx joins them."""

import networkx as nx
import numpy as np
import pytest

from imettk.data.sample_table import SampleTable
from imettk.experiment.groups import row_groups
from imettk.tracking.run_dir import DUPLICATE_GROUPS, RunDir

IDS = ("a", "b", "c", "d", "e", "f")


def table_of(groups=None):
    ids = np.array(IDS)
    return SampleTable(ids, ids, ("x",), ("",), groups=None if groups is None else np.array(groups))


def partition(groups):
    return {frozenset(np.flatnonzero(groups == group).tolist()) for group in np.unique(groups)}


@pytest.mark.parametrize("groups", [None, (1, 1, 2, 3, 3, 4)])
def test_without_copies_they_are_the_tables_own(tmp_path, groups):
    found = row_groups(table_of(groups), RunDir(tmp_path))
    assert found is None if groups is None else found.tolist() == list(groups)


@pytest.mark.parametrize("groups", [None, (1, 1, 2, 3, 3, 4)])
def test_copies_join_groups_and_rows_that_came_later_stay_alone(tmp_path, groups):
    (tmp_path / DUPLICATE_GROUPS).write_text("id,group\nc,7\na,7\nb,8\nd,9\ngone,9\n")  # e and f came later
    graph = nx.Graph()
    graph.add_nodes_from(range(6))
    graph.add_edge(0, 2)
    if groups is not None:
        graph.add_edges_from([(0, 1), (3, 4)])
    found = row_groups(table_of(groups), RunDir(tmp_path))
    assert partition(found) == {frozenset(component) for component in nx.connected_components(graph)}
