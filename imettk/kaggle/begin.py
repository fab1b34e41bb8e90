"""The beginning of a chain: check that its name is free, upload its pack, and print what it is expected to take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from imettk.errors import UserError
from imettk.kaggle.chain_state import Chain
from imettk.kaggle.client import Kaggle
from imettk.kaggle.pack import PackOrder
from imettk.kaggle.packs import pack_digest, upload_pack
from imettk.kaggle.sessions import Quota, gpu_quota, is_there
from imettk.kaggle.watch import hours_line
from imettk.progress import say


def start_chain(
    kaggle: Kaggle, order: PackOrder, settings: dict[str, Any], attached: Sequence[str], *, out: Path
) -> Chain:
    """Upload the pack of a new chain and return the chain; no session is pushed yet.

    Args:
        order: the contents of its pack.
        settings: the chain's settings by attribute name.
        attached: datasets besides the pack.
        out: the pack's folder.

    Raises:
        UserError: the platform has the kernels of another chain with this name, which would be overwritten.
    """
    chain = Chain(owner=kaggle.username, datasets=list(attached), pack="", **settings)
    require_free_name(kaggle, chain)
    pinned, digest = upload_pack(kaggle, out, order)
    require_free_name(kaggle, chain)  # again: the upload takes minutes, in which another chain may have begun
    return replace(chain, datasets=[pinned, *attached], pack=digest, jobs=[])


def require_free_name(kaggle: Kaggle, chain: Chain) -> None:
    """Raise `UserError` if the platform already has the first kernel of a chain with this name."""
    first = replace(chain, jobs=[])
    reference = first.reference(first.add("prepare", None, [], gpu=False))
    if is_there(kaggle, reference):
        raise UserError(f"{reference} exists already: its chain would be overwritten; give this one another --name")


def holds_pack(kaggle: Kaggle, chain: Chain) -> bool:
    """Return whether the platform still has the pack that the chain is pinned to, according to the pack's manifest."""
    return pack_digest(kaggle, chain.datasets[0]) == chain.pack


def renew_pack(kaggle: Kaggle, chain: Chain, order: PackOrder, *, out: Path) -> None:
    """Pack the recipe as it is now, and pin the sessions that are still to come to that pack."""
    digest_before = chain.pack
    pinned, chain.pack = upload_pack(kaggle, out, order)
    chain.datasets = [pinned, *chain.datasets[1:]]
    if chain.pack != digest_before:
        say(f"{chain.name}: packed again, from here on {pinned}")


def tell_expected(chain: Chain, quota: Quota | None) -> None:
    """Print the expected cost of a chain, and what is left of the week's GPU hours."""
    if chain.expected_sessions:
        say(f"{chain.name}: {chain.expected_sessions} sessions, {chain.expected_hours:.1f} GPU hours expected")
    else:
        say(f"{chain.name}: its cost is not known; `imettk kaggle preflight` measures it before hours are spent")
    if quota is not None and chain.gpu:
        waits = "; the chain will wait for the next week's" if quota.left < chain.expected_hours else ""
        say(f"{hours_line(quota)}{waits}")


def tell_quota(kaggle: Kaggle) -> None:
    """Print what is left of the week's GPU hours."""
    quota = gpu_quota(kaggle)
    say("GPU hours: the platform does not report them now" if quota is None else hours_line(quota))
