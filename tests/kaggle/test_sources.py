"""Sources come from exactly one competition or dataset, and are mounted under its slug."""

import pytest

from imettk.errors import UserError
from imettk.kaggle.sources import Sources


def test_data_is_mounted_under_the_slug_of_a_competition_or_a_dataset():
    competition = Sources(competition="cells", attach=["me/weights"])
    assert (competition.folder, competition.competitions, competition.datasets) == ("cells", ["cells"], ["me/weights"])
    dataset = Sources(dataset="me/photos", attach=("me/weights", "me/more/3"))
    assert (dataset.folder, dataset.competitions) == ("photos", [])
    assert dataset.datasets == ["me/photos", "me/weights", "me/more/3"]


@pytest.mark.parametrize("places", [{}, {"competition": "cells", "dataset": "me/photos"}])
def test_data_comes_from_one_place(places):
    with pytest.raises(UserError, match="give either --competition SLUG or --dataset OWNER/SLUG"):
        Sources(**places)


@pytest.mark.parametrize("reference", ["photos", "me/photos/3/4", ""])
def test_a_malformed_name_of_a_dataset_is_refused(reference):
    with pytest.raises(UserError, match=rf"^'{reference}' does not name a dataset: write OWNER/SLUG"):
        Sources(competition="cells", attach=[reference])
