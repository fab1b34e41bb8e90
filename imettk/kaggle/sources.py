"""The sources that kernels have attached besides the pack, as the user asks for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from imettk.errors import UserError


@dataclass(frozen=True)
class Sources:
    """The sources of kernels besides the pack.

    Attributes:
        competition: the slug of the competition whose data they read.
        dataset: owner/slug of a dataset with the data instead.
        attach: owner/slug of more datasets, such as weights.

    Raises:
        UserError: neither or both of competition and dataset are given, or a dataset's name is malformed.
    """

    competition: str = ""
    dataset: str = ""
    attach: Sequence[str] = ()

    def __post_init__(self) -> None:
        if bool(self.competition) == bool(self.dataset):
            raise UserError("where is the data? give either --competition SLUG or --dataset OWNER/SLUG")
        for reference in [*([self.dataset] if self.dataset else []), *self.attach]:
            if reference.count("/") not in (1, 2):
                raise UserError(f"{reference!r} does not name a dataset: write OWNER/SLUG")

    @property
    def folder(self) -> str:
        """The slug under which the data is mounted."""
        return self.competition or self.dataset.split("/")[1]

    @property
    def datasets(self) -> list[str]:
        """The datasets to attach: the one with the data first."""
        return [*([self.dataset] if self.dataset else []), *self.attach]

    @property
    def competitions(self) -> list[str]:
        """The competition to attach, if its data is used."""
        return [self.competition] if self.competition else []
