"""A journal that cannot be written stops no training."""

from __future__ import annotations


def test_a_full_disk_under_the_journal_does_not_stop_the_run(make_trainer, capsys):
    trainer = make_trainer()

    def full(event, **values):
        raise OSError(28, "No space left on device")

    trainer._recorder._log = full
    assert trainer.fit() is None and trainer.at.step == 12
    assert capsys.readouterr().out.count("journal or TensorBoard cannot be written") == 1
