"""A small network that gives embeddings."""

import torch

from imettk.models.network import Network


def network(seed=0, num_classes=7, **options):
    torch.manual_seed(seed)
    options = {"head": "embedding", "embedding_size": 8} | options
    return Network(backbone="timm:test_resnet", num_classes=num_classes, mean=(0.2,), std=(0.3,), **options)
