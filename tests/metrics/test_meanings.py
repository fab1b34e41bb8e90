"""Every metric has a meaning that a report can show, and names with a number share that of their row."""

from imettk.metrics import METRICS
from imettk.metrics.meanings import COLUMNS, MEANINGS, meaning_of


def test_every_metric_has_one_sentence_that_fits_a_tooltip():
    assert set(MEANINGS) == set(METRICS)
    for name, text in MEANINGS.items():
        assert 20 < len(text) < 130 and text.endswith(".") and text[0].isupper(), name


def test_losses_say_that_0_is_best():
    assert all("0 is best" in MEANINGS[name] for name, row in METRICS.items() if not row.higher)


def test_a_name_with_a_number_means_what_its_row_does():
    assert meaning_of("map_at_5") == meaning_of("map_at_k") == MEANINGS["map_at_k"]
    assert meaning_of("top_3") == MEANINGS["top_k"]
    assert meaning_of("recipe:mine") == meaning_of("mine_2") == meaning_of("score") == ""


def test_columns_of_numbers_mean_what_the_metrics_do():
    assert COLUMNS["rmse"] == MEANINGS["rmse"]
