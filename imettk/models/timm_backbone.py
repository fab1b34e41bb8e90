"""Networks of timm as backbones, at any image size that they can be built for."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from imettk.errors import ConfigError
from imettk.models.backbone import Levels, count_channels, name_levels, unknown_model_message
from imettk.models.image_sizes import Size, SizeMisfit, one_line, run_on_shapes
from imettk.models.lora import is_adapter
from imettk.models.pretraining import check_tag
from imettk.models.resized import Resized, require_whole_patches, set_size

# Settings of a recipe and the arguments of timm's constructors. Its `drop_rate` is not among them: that is the dropout
# before its own classifier, so `model.dropout` here.
RATES = {"drop_path": "drop_path_rate", "backbone_dropout": "proj_drop_rate"}


class TimmBackbone(nn.Module):
    """A classification network of timm without its classifier.

    A network that accepts the size as timm builds it is left alone. One that holds positions of another size is given
    the size with `set_input_size`, or else built with `img_size`.

    Args:
        channels: number of image channels.
        size: of the images; None for the size of the pretraining.
        rates: settings of RATES; None is timm's default.

    Raises:
        ConfigError: there is no such network, or it does not accept this number of channels or a rate.
        SizeMisfit: it cannot be built for images of this size.
    """

    def __init__(self, name: str, *, channels: int, size: Size | None = None, **rates: float | None) -> None:
        super().__init__()
        import timm

        if not timm.is_model(name):
            raise ConfigError(unknown_model_message("timm", name, timm.list_models()))
        check_tag(name)
        given = {RATES[field]: rate for field, rate in rates.items() if rate is not None}
        self.body: Any = _make(name, channels, size, given)
        self.num_features: int = self.body.head_hidden_size
        self._name, self._channels, self._size = name, channels, size or _own_size(self.body)
        self._is_map: bool | None = None
        self._at_sizes: dict[Size, Resized | None] = {}

    def forward(self, images: Tensor) -> Tensor:
        return _features(self._at(images), images)

    def maps(self, images: Tensor, levels: Levels) -> list[Tensor]:
        body = self._at(images)
        if levels == 1 and self._features_are_a_map():
            return [body.forward_features(images)]
        # Transformers output tokens, some networks channels-last maps: this converts all to one layout.
        indices = levels if isinstance(levels, int) else list(levels)
        try:
            return body.forward_intermediates(images, indices=indices, intermediates_only=True, norm=True)
        except AssertionError:  # networks whose final norm is in the head, such as Hiera, refuse `norm=True`
            return body.forward_intermediates(images, indices=indices, intermediates_only=True, norm=False)

    def map_channels(self, levels: Levels) -> list[int]:
        if levels != 1 and not hasattr(self.body, "forward_intermediates"):
            raise ConfigError(
                f"{name_levels(levels)}: this timm network has no maps of earlier levels; use `model.last_levels` 1"
            )
        return count_channels(self, levels, self._channels, self._size)

    def depth_of(self, *, by_block: bool = False) -> dict[str, int]:
        from timm.models import group_parameters

        if by_block:
            return {f"body.{name}": depth for name, depth in _blocks(self.body).items()}
        try:
            # The coarse matcher numbers the stem 0 and then each level (of a ViT, each block).
            groups = group_parameters(self.body, self.body.group_matcher(coarse=True), reverse=True)
        except (AttributeError, AssertionError):  # PiT, MetaFormer and CSATv2 have no matcher, RDNet no coarse one
            groups = _count_blocks([name for name, _ in self.body.named_parameters()])
        return {f"body.{name}": int(depth) for name, depth in groups.items()}

    def _at(self, images: Tensor) -> Any:
        """Return the network for images of this size."""
        size = (images.shape[-2], images.shape[-1])
        if size == self._size:
            return self.body
        if size not in self._at_sizes:
            try:
                run_on_shapes(_features, self.body, channels=self._channels, size=size)
                self._require_same_shapes(size)
                self._at_sizes[size] = None
            except SizeMisfit as misfit:
                if not hasattr(self.body, "set_input_size"):
                    raise SizeMisfit(f"it is built for {self._size[0]} x {self._size[1]}: {misfit}") from None
                self._at_sizes[size] = Resized(self.body, self._channels, size)
        resized = self._at_sizes[size]
        return self.body if resized is None else resized.body()

    def _require_same_shapes(self, size: Size) -> None:
        """Raise `SizeMisfit` if timm would build the network with other tables at this size.

        Running it anyway raises no error: MViTv2 reads beyond the end of its tables, CrossViT shrinks the image.
        """
        if not _holds_one_size(self.body):
            return
        with torch.device("meta"):
            other = _create(self._name, self._channels, img_size=size)
        shapes = [
            [value.shape for name, value in body.named_parameters() if not is_adapter(name)]
            for body in (self.body, other)
        ]
        if shapes[0] != shapes[1]:
            raise SizeMisfit("its positions are for a single size")

    def _features_are_a_map(self) -> bool:
        """Return whether the network's features are the map (B, F, H, W) that it pools itself."""
        if self._is_map is None:
            features = run_on_shapes(
                lambda body, images: body.forward_features(images),
                self.body,
                channels=self._channels,
                size=self._size,
            )
            self._is_map = isinstance(features, Tensor) and features.ndim == 4
            self._is_map = self._is_map and features.shape[1] == self.num_features
        return self._is_map

    def __getstate__(self) -> dict[str, Any]:
        # A copy (averaged weights) must build its networks of other sizes on its own weights.
        return self.__dict__ | {"_at_sizes": {}}

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        self._at_sizes.clear()  # they share tensors with the network on the old device
        return super()._apply(fn, recurse)


def _make(name: str, channels: int, size: Size | None, rates: dict[str, float]) -> Any:
    body = _create_with(rates, name, channels)
    if size is None:
        return body
    misfit = None
    try:
        run_on_shapes(_features, body, channels=channels, size=size)
    except SizeMisfit as error:
        _require_channels(name, body, channels)
        misfit = error
    if misfit is None and (size == _own_size(body) or not _holds_one_size(body)):
        return body
    body = _make_at(name, body, channels, size, misfit, rates)
    run_on_shapes(_features, body, channels=channels, size=size)
    return body


def _make_at(
    name: str, body: Any, channels: int, size: Size, misfit: SizeMisfit | None, rates: dict[str, float]
) -> Any:
    """Return a network for another size than timm's default.

    Args:
        misfit: why the network does not accept the size unchanged; None if it runs.
    """
    if hasattr(body, "set_input_size"):
        set_size(body, channels, size)
        return body
    try:
        body = _create(name, channels, img_size=size, **rates)
    except TypeError:  # no parameter `img_size`: it holds no positions
        if misfit is None:
            return body
        raise misfit from None
    except Exception as error:
        raise SizeMisfit(one_line(error)) from None
    run_on_shapes(require_whole_patches, body, channels=channels, size=size)
    return body


def _require_channels(name: str, body: Any, channels: int) -> None:
    """Raise `ConfigError` if a network does not even accept images of its own size with this number of channels."""
    try:
        run_on_shapes(_features, body, channels=channels, size=_own_size(body))
    except SizeMisfit as misfit:
        raise ConfigError(
            f"`model.backbone`: timm:{name} accepts no images of {channels} channels ({misfit}); choose another one"
        ) from None


def _create_with(rates: dict[str, float], name: str, channels: int) -> Any:
    """Return a network with these rates of dropout; raise `ConfigError` if it does not take one."""
    try:
        return _create(name, channels, **rates)
    except TypeError as error:
        for field, argument in RATES.items():
            if argument in rates and argument in str(error):
                raise ConfigError(f"`model.{field}`: timm:{name} has no such dropout; leave it out") from None
        raise


def _create(name: str, channels: int, **settings: Any) -> Any:
    import timm

    return timm.create_model(name, pretrained=False, in_chans=channels, num_classes=0, **settings)


def _holds_one_size(body: Any) -> bool:
    """Return whether timm builds this network for a fixed size (it may run at other sizes all the same)."""
    return body.pretrained_cfg.get("fixed_input_size", False) and not hasattr(body, "set_input_size")


def _own_size(body: Any) -> Size:
    """Return the size of the pretraining."""
    height, width = body.pretrained_cfg.get("input_size", (3, 224, 224))[1:]
    return height, width


def _features(body: Any, images: Tensor) -> Tensor:
    # `forward_head` has the pool and the last norm, wherever a network puts them: ConvNeXt has both in its head.
    return body.forward_head(body.forward_features(images), pre_logits=True)


def _blocks(body: Any) -> dict[str, int]:
    """Return the block of each parameter by name, as timm's `param_groups_layer_decay` numbers them.

    Parameters that share the number of timm's classifier, such as a norm behind the pool, are left out.
    """
    from timm.models import group_parameters

    try:
        matcher = body.group_matcher(coarse=False)
    except AttributeError:
        return _count_blocks([name for name, _ in body.named_parameters()])
    classifier = body.pretrained_cfg.get("classifier") or "head"
    classifier = f"{classifier if isinstance(classifier, str) else classifier[0]}.weight"
    parameters = [*body.named_parameters(), (classifier, None)]  # as if the body still had its classifier
    depths = group_parameters(SimpleNamespace(named_parameters=lambda: parameters), matcher, reverse=True)
    last = depths.pop(classifier)
    return {name: depth for name, depth in depths.items() if depth != last}


def _count_blocks(names: list[str]) -> dict[str, int]:
    """Return the depth of each parameter for networks without a matcher of timm.

    Numbered blocks count in order; parameters between two blocks belong to the earlier one.
    """
    depths: dict[str, int] = {}
    seen: dict[str, int] = {}
    for name in names:
        block = re.match(r"[^.]+\.\d+", name)
        if block is not None:
            seen.setdefault(block[0], len(seen) + 1)
        depths[name] = len(seen) if block is None else seen[block[0]]
    first = min(depths.values())
    return {name: depth - first for name, depth in depths.items()}
