"""The beginning of a chain: its name is free, its pack is on the platform, and what it is expected to take is said."""

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
    """Make a new chain, its pack uploaded; nothing is pushed yet.

    Args:
        order: what goes into its pack.
        settings: of the chain, by the names of its attributes.
        attached: datasets beside the pack.
        out: the pack's folder.

    Raises:
        UserError: the platform has the kernels of another chain of this name: theirs would be overwritten.
    """
    chain = Chain(owner=kaggle.username, datasets=list(attached), pack="", **settings)
    require_free_name(kaggle, chain)
    pinned, digest = upload_pack(kaggle, out, order)
    require_free_name(kaggle, chain)  # again: an upload takes minutes, in which another may have begun
    return replace(chain, datasets=[pinned, *attached], pack=digest, jobs=[])


def require_free_name(kaggle: Kaggle, chain: Chain) -> None:
    """Refuse a name whose first kernel the platform has already."""
    first = replace(chain, jobs=[])
    reference = first.reference(first.add("prepare", None, [], gpu=False))
    if is_there(kaggle, reference):
        raise UserError(f"{reference} is there already: its chain would be overwritten; give this one another --name")


def holds_pack(kaggle: Kaggle, chain: Chain) -> bool:
    """Whether the platform still has the pack that the chain is pinned to, by its own manifest."""
    return pack_digest(kaggle, chain.datasets[0]) == chain.pack


def renew_pack(kaggle: Kaggle, chain: Chain, order: PackOrder, *, out: Path) -> None:
    """Pin the sessions that are still to come to the recipe as it is now."""
    before = chain.pack
    pinned, chain.pack = upload_pack(kaggle, out, order)
    chain.datasets = [pinned, *chain.datasets[1:]]
    if chain.pack != before:
        say(f"{chain.name}: packed anew, from here on {pinned}")


def tell_expected(chain: Chain, quota: Quota | None) -> None:
    """Say what a chain is expected to take, and what is left of the week's GPU hours."""
    if chain.expected_sessions:
        say(f"{chain.name}: {chain.expected_sessions} sessions, {chain.expected_hours:.1f} GPU hours expected")
    else:
        say(f"{chain.name}: what it takes is not known; `imettk kaggle preflight` measures it before hours are spent")
    if quota is not None and chain.gpu:
        waits = "; the chain will wait for the next week's" if quota.left < chain.expected_hours else ""
        say(f"{hours_line(quota)}{waits}")


def tell_quota(kaggle: Kaggle) -> None:
    """Say what is left of the week's GPU hours."""
    quota = gpu_quota(kaggle)
    say("GPU hours: the platform does not say now" if quota is None else hours_line(quota))
