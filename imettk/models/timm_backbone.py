"""Networks of timm as backbones, at any image size that they can be made for."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor, nn

from imettk.errors import ConfigError
from imettk.models.backbone import count_channels, no_such_model
from imettk.models.image_sizes import Size, SizeMisfit, follow, one_line
from imettk.models.pretraining import check_tag
from imettk.models.resized import Resized, require_whole_patches, set_size


class TimmBackbone(nn.Module):
    """Any classification network of timm, without its classifier.

    A network that takes the size as timm makes it stays so. Another one, that holds positions of one size, is told: by
    `set_input_size`, else by making it with `img_size`.

    Args:
        channels: of the images.
        size: of the images; None is that of the pretraining.

    Raises:
        ConfigError: no such network, or it is none for images of so many channels.
        SizeMisfit: it cannot be made for images of this size.
    """

    def __init__(self, name: str, *, channels: int, size: Size | None = None) -> None:
        super().__init__()
        import timm

        if not timm.is_model(name):
            raise ConfigError(no_such_model("timm", name, timm.list_models()))
        check_tag(name)
        self.body: Any = _make(name, channels, size)
        self.num_features: int = self.body.head_hidden_size
        self._name, self._channels, self._size = name, channels, size or _own_size(self.body)
        self._is_map: bool | None = None
        self._at_sizes: dict[Size, Resized | None] = {}

    def forward(self, images: Tensor) -> Tensor:
        return _features(self._at(images), images)

    def maps(self, images: Tensor, num_levels: int) -> list[Tensor]:
        body = self._at(images)
        if num_levels == 1 and self._features_are_a_map():
            return [body.forward_features(images)]
        # Transformers give tokens, and some networks channels last: these come as maps of one layout.
        try:
            return body.forward_intermediates(images, indices=num_levels, intermediates_only=True, norm=True)
        except AssertionError:  # before anything else, by networks whose norm is that of their head, such as Hiera
            return body.forward_intermediates(images, indices=num_levels, intermediates_only=True, norm=False)

    def map_channels(self, num_levels: int) -> list[int]:
        if num_levels > 1 and not hasattr(self.body, "forward_intermediates"):
            raise ConfigError("`model.last_levels`: this network of timm gives no maps of earlier levels; set it to 1")
        return count_channels(self, num_levels, self._channels, self._size)

    def depth_of(self) -> dict[str, int]:
        from timm.models import group_parameters

        try:
            # The coarse matcher gives the stem 0 and each level of the network (of a ViT, each block) the next number.
            groups = group_parameters(self.body, self.body.group_matcher(coarse=True), reverse=True)
        except (AttributeError, AssertionError):  # PiT, MetaFormer, CSATv2; RDNet has no coarse one
            groups = _count_blocks([name for name, _ in self.body.named_parameters()])
        return {f"body.{name}": int(depth) for name, depth in groups.items()}

    def _at(self, images: Tensor) -> Any:
        """Return the network for images of this size."""
        size = (images.shape[-2], images.shape[-1])
        if size == self._size:
            return self.body
        if size not in self._at_sizes:
            try:
                follow(_features, self.body, channels=self._channels, size=size)
                self._require_same_shapes(size)
                self._at_sizes[size] = None
            except SizeMisfit as misfit:
                if not hasattr(self.body, "set_input_size"):
                    raise SizeMisfit(f"it is made for {self._size[0]} x {self._size[1]}: {misfit}") from None
                self._at_sizes[size] = Resized(self.body, self._channels, size)
        resized = self._at_sizes[size]
        return self.body if resized is None else resized.body()

    def _require_same_shapes(self, size: Size) -> None:
        """Raise `SizeMisfit` where timm would make the network with other tables at this size: MViTv2 looks them up
        beyond their end, CrossViT makes the image smaller."""
        if not _holds_one_size(self.body):
            return
        with torch.device("meta"):
            other = _create(self._name, self._channels, img_size=size)
        shapes = [[value.shape for value in body.parameters()] for body in (self.body, other)]
        if shapes[0] != shapes[1]:
            raise SizeMisfit("its positions are of one size")

    def _features_are_a_map(self) -> bool:
        """Whether the network's features are the map (B, F, H, W) that it pools itself."""
        if self._is_map is None:
            features = follow(
                lambda body, images: body.forward_features(images),
                self.body,
                channels=self._channels,
                size=self._size,
            )
            self._is_map = isinstance(features, Tensor) and features.ndim == 4
            self._is_map = self._is_map and features.shape[1] == self.num_features
        return self._is_map

    def __getstate__(self) -> dict[str, Any]:
        # Copies (averaged weights) find their networks of other sizes anew, on their own weights.
        return self.__dict__ | {"_at_sizes": {}}

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        self._at_sizes.clear()  # another device is another set of tensors
        return super()._apply(fn, recurse)


def _make(name: str, channels: int, size: Size | None) -> Any:
    body = _create(name, channels)
    if size is None:
        return body
    misfit = None
    try:
        follow(_features, body, channels=channels, size=size)
    except SizeMisfit as error:
        _require_channels(name, body, channels)
        misfit = error
    if misfit is None and (size == _own_size(body) or not _holds_one_size(body)):
        return body
    body = _make_at(name, body, channels, size, misfit)
    follow(_features, body, channels=channels, size=size)
    return body


def _make_at(name: str, body: Any, channels: int, size: Size, misfit: SizeMisfit | None) -> Any:
    """Return a network that was told the size.

    Args:
        misfit: why it does not take the size as it is; None where it runs.
    """
    if hasattr(body, "set_input_size"):
        set_size(body, channels, size)
        return body
    try:
        body = _create(name, channels, img_size=size)
    except TypeError:  # it holds no positions
        if misfit is None:
            return body
        raise misfit from None
    except Exception as error:
        raise SizeMisfit(one_line(error)) from None
    follow(require_whole_patches, body, channels=channels, size=size)
    return body


def _require_channels(name: str, body: Any, channels: int) -> None:
    """Raise `ConfigError` where a network does not even take images of its own size."""
    try:
        follow(_features, body, channels=channels, size=_own_size(body))
    except SizeMisfit as misfit:
        raise ConfigError(
            f"`model.backbone`: timm:{name} classifies no images of {channels} channels ({misfit}); take another one"
        ) from None


def _create(name: str, channels: int, **settings: Any) -> Any:
    import timm

    return timm.create_model(name, pretrained=False, in_chans=channels, num_classes=0, **settings)


def _holds_one_size(body: Any) -> bool:
    """Whether timm makes this network for a size, and cannot tell it another one; it may run at others all the same."""
    return body.pretrained_cfg.get("fixed_input_size", False) and not hasattr(body, "set_input_size")


def _own_size(body: Any) -> Size:
    """Return the size of the pretraining."""
    height, width = body.pretrained_cfg.get("input_size", (3, 224, 224))[1:]
    return height, width


def _features(body: Any, images: Tensor) -> Tensor:
    # timm knows where each network has its pool and last norm: for ConvNeXt and its like that is in the head.
    return body.forward_head(body.forward_features(images), pre_logits=True)


def _count_blocks(names: list[str]) -> dict[str, int]:
    """Return how deep each parameter lies, where timm does not say: the numbered blocks in their order, and with each
    what stands before the next one."""
    depths: dict[str, int] = {}
    seen: dict[str, int] = {}
    for name in names:
        block = re.match(r"[^.]+\.\d+", name)
        if block is not None:
            seen.setdefault(block[0], len(seen) + 1)
        depths[name] = len(seen) if block is None else seen[block[0]]
    first = min(depths.values())
    return {name: depth - first for name, depth in depths.items()}
