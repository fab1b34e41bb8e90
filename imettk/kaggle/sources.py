"""What kernels have attached beside the pack, as it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from imettk.errors import UserError


@dataclass(frozen=True)
class Sources:
    """What kernels have attached beside the pack.

    Attributes:
        competition: slug of the competition whose data they read.
        dataset: owner/slug of a dataset with the data instead.
        attach: owner/slug of more datasets, such as weights.
    """

    competition: str = ""
    dataset: str = ""
    attach: Sequence[str] = ()

    def __post_init__(self) -> None:
        if bool(self.competition) == bool(self.dataset):
            raise UserError("where is the data? give --competition SLUG, or --dataset OWNER/SLUG, one of them")
        for reference in [*([self.dataset] if self.dataset else []), *self.attach]:
            if reference.count("/") not in (1, 2):
                raise UserError(f"{reference!r} is no dataset: it is written OWNER/SLUG")

    @property
    def folder(self) -> str:
        """The slug under which the data is mounted."""
        return self.competition or self.dataset.split("/")[1]

    @property
    def datasets(self) -> list[str]:
        return [*([self.dataset] if self.dataset else []), *self.attach]

    @property
    def competitions(self) -> list[str]:
        return [self.competition] if self.competition else []
