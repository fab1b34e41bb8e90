"""Metadata of an image reaches the network with it, in every micro-batch and every piece of one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from imettk.config import StageConfig
from imettk.data.dataset import Batch
from imettk.data.sampling import BatchRequest
from imettk.models.heads import Outputs


class Pictures(torch.utils.data.Dataset):
    """Images of one brightness each, which their metadata tell in other units; two classes by brightness."""

    def __getitem__(self, request: BatchRequest) -> Batch:
        rows = torch.from_numpy(request.rows)
        images = (rows * 10).to(torch.uint8)[:, None, None, None].expand(-1, 6, 6, 1)
        metadata = torch.stack([rows / 24, torch.ones(len(rows))], 1)
        return Batch(images, rows // 12, None, torch.from_numpy(request.positions), rows, metadata=metadata)


class Net(nn.Module):
    """Goes by brightness alone, as images or metadata have it; notes what it is called with."""

    def __init__(self, *, by_metadata: bool) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv, self.norm, self.head = nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1), nn.Linear(2, 4)
        self._by_metadata = by_metadata
        self.calls: list[tuple[Tensor, Tensor]] = []

    def forward(self, images: Tensor, metadata: Tensor) -> Outputs:
        self.calls.append((images[:, 0, 0, 0], metadata))
        brightness = metadata[:, 0] if self._by_metadata else images[:, 0, 0, 0].double().div(240).float()
        return Outputs(self.head(torch.stack([brightness, torch.ones_like(brightness)], 1)))


@pytest.mark.parametrize("split", [1, 2])
def test_it_comes_with_its_image(make_trainer, split):
    weights = []
    for by_metadata in (False, True):
        net = Net(by_metadata=by_metadata)
        stage = StageConfig(num_epochs=3, batch_size=8, accumulate=2, lr=(0.02,))
        trainer = make_trainer(f"run{by_metadata}", network=net, dataset=Pictures(), stages=(stage,))
        trainer._runner.split = split
        assert trainer.fit() is None
        assert len(net.calls) == 9 * 2 * split and {len(images) for images, _ in net.calls} == {4 // split}
        for images, metadata in net.calls:
            torch.testing.assert_close(metadata[:, 0] * 240, images.float())
        weights.append(net.head.weight.detach())
    torch.testing.assert_close(*weights)
    assert not torch.equal(weights[0], Net(by_metadata=True).head.weight)
