"""Published networks of images that are in no library, rewritten small; `published` has their labels."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import deform_conv2d


def _conv(channels_in: int, channels: int, kernel: int = 3, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels, kernel, padding=kernel // 2, **options)


class Conditional(nn.Module):
    """The residual block of a diffusion U-Net (Ho et al. 2020): a time embedding is added, or scales and shifts, inside."""

    def __init__(self, is_film: bool, c: int = 8) -> None:
        super().__init__()
        self.conv1, self.conv2, self.norm = _conv(c, c), _conv(c, c), nn.GroupNorm(4, c)
        self.time = nn.Linear(8, 2 * c if is_film else c)
        self.is_film = is_film

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        h, t = self.conv1(F.silu(x)), self.time(F.silu(t))[:, :, None, None]
        if self.is_film:
            scale, shift = t.chunk(2, 1)
            return x + self.conv2(F.silu(self.norm(h) * (1 + scale) + shift))
        return x + self.conv2(F.silu(self.norm(h + t)))


class Diffusion(nn.Module):
    """A stem, three conditional blocks, a head."""

    def __init__(self, is_film: bool = False) -> None:
        super().__init__()
        self.stem, self.head = _conv(3, 8), _conv(8, 3)
        self.embed = nn.Sequential(nn.Linear(4, 8), nn.SiLU(), nn.Linear(8, 8))
        self.blocks = nn.ModuleList(Conditional(is_film) for _ in range(3))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        x, t = self.stem(x), self.embed(t)
        for block in self.blocks:
            x = block(x, t)
        return self.head(x)


class Pyramid(nn.Module):
    """A feature pyramid (Lin et al. 2017) on a plain backbone; every level is read, or the finest only (an adding U-Net)."""

    def __init__(self, reads_all: bool = True, c: int = 8) -> None:
        super().__init__()
        self.stem = _conv(3, c, stride=2)
        self.down = nn.ModuleList(nn.Sequential(_conv(c, c, stride=2), nn.ReLU(), _conv(c, c), nn.ReLU()) for _ in range(2))
        self.lateral = nn.ModuleList(_conv(c, c, 1) for _ in range(3))
        self.out = nn.ModuleList(_conv(c, c) for _ in range(3 if reads_all else 1))

    def forward(self, x: Tensor) -> list[Tensor]:
        levels = [self.stem(x).relu()]
        for down in self.down:
            levels.append(down(levels[-1]))
        merged = [self.lateral[-1](levels[-1])]
        for lateral, level in zip(self.lateral[-2::-1], levels[-2::-1], strict=True):
            merged.insert(0, lateral(level) + F.interpolate(merged[0], scale_factor=2.0))
        return [out(level) for out, level in zip(self.out, merged, strict=False)]


class AddingUNet(nn.Module):
    """LinkNet (Chaurasia & Culurciello 2017): decoders whose output is added to the encoder's."""

    def __init__(self, c: int = 8) -> None:
        super().__init__()
        self.stem, self.head = _conv(3, c), _conv(c, 2, 1)
        self.down = nn.ModuleList(_conv(c, c, stride=2) for _ in range(2))
        self.up = nn.ModuleList(nn.ConvTranspose2d(c, c, 2, 2) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        skips = [self.stem(x).relu()]
        for down in self.down:
            skips.append(down(skips[-1]).relu())
        x = skips.pop()
        for up in self.up:
            x = up(x).relu() + skips.pop()
        return self.head(x)


class SpatialTransformer(nn.Module):
    """A spatial transformer before a small classifier (Jaderberg et al. 2015)."""

    def __init__(self) -> None:
        super().__init__()
        self.locate = nn.Sequential(
            nn.Conv2d(1, 4, 5, 2), nn.ReLU(), nn.Flatten(), nn.Linear(144, 8), nn.ReLU(), nn.Linear(8, 6)
        )
        self.classify = nn.Sequential(nn.Conv2d(1, 4, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(196, 3))
        nn.init.zeros_(self.locate[-1].weight)
        self.locate[-1].bias.data = torch.tensor([1.0, 0, 0, 0, 1, 0])

    def forward(self, x: Tensor) -> Tensor:
        grid = F.affine_grid(self.locate(x).view(-1, 2, 3), list(x.shape), align_corners=False)
        return self.classify(F.grid_sample(x, grid, align_corners=False))


class Deformable(nn.Module):
    """A deformable convolution that starts as a plain one: its offsets are zeroed (Dai et al. 2017)."""

    def __init__(self, c: int = 8) -> None:
        super().__init__()
        self.stem, self.offsets, self.head = _conv(3, c), _conv(c, 18), nn.Linear(c, 3)
        self.weight = nn.Parameter(torch.randn(c, c, 3, 3))
        nn.init.zeros_(self.offsets.weight)
        nn.init.zeros_(self.offsets.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        return self.head(deform_conv2d(x, self.offsets(x), self.weight, padding=1).relu().mean((2, 3)))


class Detector(nn.Module):
    """RetinaNet's two heads on one level; the scores start at 1 %, a bias of -4.6 (Lin et al. 2017)."""

    def __init__(self, c: int = 8) -> None:
        super().__init__()
        self.stem, self.scores, self.boxes = _conv(3, c), _conv(c, 5), _conv(c, 4)
        nn.init.constant_(self.scores.bias, -math.log(99))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.stem(x).relu()
        return self.scores(x), self.boxes(x)


class Modulated(nn.Module):
    """StyleGAN2's modulated convolution (Karras et al. 2020)."""

    def __init__(self, c: int = 8) -> None:
        super().__init__()
        self.weight, self.style = nn.Parameter(torch.randn(c, c, 3, 3)), nn.Linear(4, c)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        kernel = self.weight[None] * (self.style(w) + 1)[:, None, :, None, None]
        kernel = kernel * (kernel.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
        flat = x.reshape(1, -1, *x.shape[2:])
        return F.conv2d(flat, kernel.flatten(0, 1), padding=1, groups=len(x)).view_as(x)


class Generator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a, self.b, self.head = _conv(3, 8), Modulated(), Modulated(), _conv(8, 3, 1)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        return self.head(self.b(self.a(self.stem(x), w).relu(), w).relu())


class AttentionUNet(nn.Module):
    """A U-Net whose decoder gates what the encoder passes to it (Oktay et al. 2018)."""

    def __init__(self, c: int = 8) -> None:
        super().__init__()
        self.enc = nn.ModuleList([_conv(3, c), _conv(c, c), _conv(c, c)])
        self.up, self.dec = (nn.ModuleList(layers) for layers in zip(*[(_conv(c, c), _conv(2 * c, c))] * 2, strict=True))
        self.g, self.x = (nn.ModuleList(_conv(c, 4, 1) for _ in range(2)) for _ in range(2))
        self.psi, self.head = nn.ModuleList(_conv(4, 1, 1) for _ in range(2)), _conv(c, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips = [self.enc[0](x).relu()]
        for enc in self.enc[1:]:
            skips.append(enc(F.max_pool2d(skips[-1], 2)).relu())
        y = skips.pop()
        for up, dec, g, x_, psi in zip(self.up, self.dec, self.g, self.x, self.psi, strict=True):
            skip, y = skips.pop(), up(F.interpolate(y, scale_factor=2.0))
            y = dec(torch.cat([y, skip * psi((g(y) + x_(skip)).relu()).sigmoid()], 1)).relu()
        return self.head(y)


class ControlNet(nn.Module):
    """A copy of an encoder that reads a hint, and joins through convolutions of zeros (Zhang et al. 2023)."""

    def __init__(self, c: int = 8) -> None:
        super().__init__()
        self.stem, self.hint, self.head = nn.Conv2d(3, c, 3, padding=1), nn.Conv2d(3, c, 3, padding=1), nn.Conv2d(c, 3, 1)
        self.encoder, self.copy = (nn.ModuleList(nn.Conv2d(c, c, 3, padding=1) for _ in range(2)) for _ in range(2))
        self.decoder = nn.ModuleList(nn.Conv2d(2 * c, c, 3, padding=1) for _ in range(2))
        self.zeros = nn.ModuleList(nn.Conv2d(c, c, 1) for _ in range(3))
        for parameter in self.zeros.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, hint: Tensor) -> Tensor:
        x, kept = self.stem(x), []
        y = x + self.zeros[0](self.hint(hint))
        for encoder, copied, zero in zip(self.encoder, self.copy, self.zeros[1:], strict=True):
            x, y = encoder(x).relu(), copied(y).relu()
            kept.append(x + zero(y))
        for decoder in self.decoder:
            x = decoder(torch.cat([x, kept.pop()], 1)).relu()
        return self.head(x)


class Spade(nn.Module):
    """Normalizes, then scales and shifts by what a map of labels says of each place (Park et al. 2019)."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.norm, self.shared = nn.BatchNorm2d(c, affine=False), nn.Conv2d(4, 16, 3, padding=1)
        self.gamma, self.beta = nn.Conv2d(16, c, 3, padding=1), nn.Conv2d(16, c, 3, padding=1)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        y = self.shared(F.interpolate(labels, x.shape[2:])).relu()
        return self.norm(x) * (1 + self.gamma(y)) + self.beta(y)


class SpadeBlock(nn.Module):
    """A residual block of SPADE's generator; the shortcut is learned where the width changes."""

    def __init__(self, c: int, out: int) -> None:
        super().__init__()
        self.spade1, self.conv1, self.spade2, self.conv2 = Spade(c), nn.Conv2d(c, out, 1), Spade(out), nn.Conv2d(out, out, 1)
        self.learned = nn.ModuleDict({"spade": Spade(c), "conv": nn.Conv2d(c, out, 1, bias=False)} if out != c else {})

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        y = self.conv1(F.leaky_relu(self.spade1(x, labels)))
        y = self.conv2(F.leaky_relu(self.spade2(y, labels)))
        return (self.learned["conv"](self.learned["spade"](x, labels)) if self.learned else x) + y


class SpadeGenerator(nn.Module):
    """A generator of pictures from a map of labels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(4, 16, 3, padding=1), nn.Conv2d(8, 3, 3, padding=1)
        self.blocks = nn.ModuleList([SpadeBlock(16, 16), SpadeBlock(16, 8)])

    def forward(self, labels: Tensor) -> Tensor:
        x = self.stem(F.interpolate(labels, (4, 4)))
        for block in self.blocks:
            x = block(F.interpolate(x, scale_factor=2.0), labels)
        return self.head(x).tanh()
