"""The heatmap network without graphs in PyTorch, written as its users would: the yardstick."""

from __future__ import annotations

import torch
from torch import nn


class _Bottleneck(nn.Module):  # type: ignore[misc]
    def __init__(self, channels: int, filters: int, stride: int, *, project: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(channels, filters, 1, stride), _norm(filters), nn.ReLU(inplace=True)),
            *(nn.Conv2d(filters, filters, 3, 1, 1), _norm(filters), nn.ReLU(inplace=True)),
            *(nn.Conv2d(filters, 4 * filters, 1), _norm(4 * filters)),
        )
        self.shortcut: nn.Module = nn.Identity()
        if project:
            projection = nn.Conv2d(channels, 4 * filters, 1, stride)
            self.shortcut = nn.Sequential(projection, _norm(4 * filters))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu_(self.body(x) + self.shortcut(x))


def _norm(channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels, eps=1.001e-5, momentum=0.01)


class HeatmapNet(nn.Module):  # type: ignore[misc]
    """Does what `AUHeatmapNet` on `resnet_v1_50` does with 256 filters a level and no graphs.

    Args:
        num_points: Number P of maps.

    Call arguments:
        x: (B, 3, S, S) RGB in [0, 255].

    Returns:
        (B, P, S / 4, S / 4) maps.
    """

    def __init__(self, num_points: int) -> None:
        super().__init__()
        parts = [nn.Conv2d(3, 64, 7, 2, 3), _norm(64), nn.ReLU(inplace=True)]
        parts.append(nn.MaxPool2d(3, 2, 1))
        channels = 64
        for stage, blocks in enumerate((3, 4, 6, 3)):
            filters = 64 * 2**stage
            for block in range(blocks):
                stride = 2 if stage and not block else 1
                parts.append(_Bottleneck(channels, filters, stride, project=not block))
                channels = 4 * filters
        for _ in range(3):
            parts.append(nn.ConvTranspose2d(channels, 256, 4, 2, 1, bias=False))
            parts += [_norm(256), nn.ReLU6(inplace=True)]
            channels = 256
        self.layers = nn.Sequential(*parts, nn.Conv2d(channels, num_points, 1))
        self.register_buffer("mean", torch.tensor([103.939, 116.779, 123.68]).view(1, 3, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Draws the maps."""
        return self.layers(x.flip(1) - self.mean)
