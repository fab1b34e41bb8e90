"""`log compare`: compare the scores of two runs on the rows that both validated, by a paired bootstrap."""

from __future__ import annotations

from pathlib import Path

from imettk.errors import UserError


def describe_difference(first: Path, second: Path) -> list[str]:
    """Return lines on the difference of two run folders' scores; the reason if they cannot be compared."""
    from imettk.evaluation.paired import compare_runs  # loads torch, which most of `imettk log` does without

    try:
        paired = compare_runs(first, second)
    except (UserError, OSError) as error:
        return [f"note: no paired comparison: {error}"]
    return [
        f"{paired.title} on the {paired.rows:,} rows that both validated: {paired.first:.4f} and {paired.second:.4f}",
        f"difference {paired.difference:+.4f}, 95% interval {paired.low:+.4f} to {paired.high:+.4f} "
        f"(paired bootstrap, {paired.draws:,} samples)",
        paired.verdict,
    ]
