"""Cross-entropy by question, against PyTorch's for each question."""

import pytest
import torch
from torch.nn import functional

from imettk.losses.question_cross_entropy import question_cross_entropy
from imettk.models.heads import log_probs_by_part

PARTS = (4, 2, 3)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, sum(PARTS), generator=generator)
    classes = torch.stack([torch.randint(0, size, (6,), generator=generator) for size in PARTS], 1)
    hot = [functional.one_hot(column, size) for column, size in zip(classes.T, PARTS, strict=True)]
    return logits, classes, torch.cat(hot, 1).to(torch.uint8)


def test_it_is_the_mean_over_questions_of_pytorchs(batch):
    logits, classes, targets = batch
    by_question = torch.stack(
        [
            functional.cross_entropy(part, column, reduction="none")
            for part, column in zip(logits.split(list(PARTS), 1), classes.T, strict=True)
        ]
    )
    log_probs = log_probs_by_part(logits, PARTS)
    torch.testing.assert_close(question_cross_entropy(log_probs, targets, parts=PARTS), by_question.mean(0))
    weighted = question_cross_entropy(log_probs, targets, parts=PARTS, weights="0.7, 0.1, 0.2")
    torch.testing.assert_close(weighted, 0.7 * by_question[0] + 0.1 * by_question[1] + 0.2 * by_question[2])


def test_soft_targets_and_questions_without_an_answer_count_as_far_as_they_go(batch):
    logits, classes, targets = batch
    log_probs = log_probs_by_part(logits, PARTS)
    soft = 0.25 * targets + 0.75 * targets.flip(0)
    first, second = (question_cross_entropy(log_probs, labels, parts=PARTS) for labels in (targets, targets.flip(0)))
    torch.testing.assert_close(question_cross_entropy(log_probs, soft, parts=PARTS), 0.25 * first + 0.75 * second)
    targets[:, :4] = 0
    alone = functional.cross_entropy(logits[:, 4:6], classes[:, 1], reduction="none")
    losses = question_cross_entropy(log_probs, targets, parts=PARTS, weights="1 1 0")
    torch.testing.assert_close(losses, alone / 2)
