"""Rows that belong together: of the same patient or sender, or copies of each other."""

from __future__ import annotations

import numpy as np

from imettk.data.csv_files import read_csv
from imettk.data.duplicates import merge_groups
from imettk.data.sample_table import SampleTable
from imettk.tracking.run_dir import DUPLICATE_GROUPS, RunDir


def row_groups(table: SampleTable, run: RunDir) -> np.ndarray | None:
    """Return the group of each row, any dtype (N,): the table's, joined where `imettk duplicates` found copies."""
    if (path := run.find_optional(DUPLICATE_GROUPS)) is None:
        return table.groups
    found = read_csv(path).set_index("id")["group"].reindex(table.ids)
    alone = found.isna().to_numpy()  # rows that came later
    return merge_groups(table.groups, np.where(alone, table.ids.astype(object), found.to_numpy()).astype(str))
