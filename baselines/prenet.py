"""PReNet and its lighter forms (Ren et al., CVPR 2019): a small residual network run six times, with or without memory.

Layers that an authors' weights file names keep those names; the rest is written from the paper.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rainrag.baselines import checkpoint
from rainrag.baselines.card import Baseline, Card, Claim, Weights
from rainrag.core.errors import InputError
from rainrag.core.files import sha256_bytes
from rainrag.core.types import Archive

GATES = ("conv_i", "conv_f", "conv_g", "conv_o")


def _conv(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1))


class PReNet(nn.Module):
    """Progressive network: every stage sees the rainy image and the estimate of the stage before (section 3).

    Args:
        iterations: stages T, all with the same weights.
        recurrent: a convolutional LSTM remembers features across stages (PReNet); else PRN.
        recursive: one residual block five times (the ``_r`` forms) instead of five blocks.
        width: feature channels.
        intermediates: return the image of every stage too.
    """

    DEPTH = 5

    def __init__(
        self,
        iterations: int = 6,
        recurrent: bool = True,
        recursive: bool = False,
        width: int = 32,
        intermediates: bool = False,
    ) -> None:
        super().__init__()
        self.iterations = iterations
        self.recurrent = recurrent
        self.width = width
        self.intermediates = intermediates
        self.conv0 = _conv(6, width)
        self.blocks = ["res_conv1"] * self.DEPTH if recursive else [f"res_conv{i + 1}" for i in range(self.DEPTH)]
        for name in sorted(set(self.blocks)):
            self.add_module(name, nn.Sequential(*_conv(width, width), nn.ReLU(inplace=True), *_conv(width, width)))
        for name in GATES if recurrent else ():
            self.add_module(name, _conv(2 * width, width))
        self.conv = _conv(width, 3)

    def stages(self, x: Tensor) -> list[Tensor]:
        """The image after each stage, for losses on all of them.

        Args:
            x: (B, 3, H, W) in [0, 1], any size.

        Returns:
            ``iterations`` tensors like ``x``, not clamped; the last is the result.
        """
        gates = self._gates() if self.recurrent else None
        h = c = x.new_zeros((x.shape[0], self.width, *x.shape[2:]))
        images, image = [], x
        for _ in range(self.iterations):
            z = F.relu(self.conv0(torch.cat((x, image), 1)))
            if gates is not None:
                h, c = _remember(z, h, c, *gates)
                z = h
            for name in self.blocks:
                # The block's second convolution has a ReLU of its own, before the one after the sum.
                z = F.relu(z + F.relu(getattr(self, name)(z)))
            image = x + self.conv(z)
            images.append(image)
        return images

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        """(B, 3, H, W) in [0, 1] to the same, not clamped; a dict with ``y`` and ``stage_1`` … when asked for."""
        images = self.stages(x)
        if self.intermediates:
            return {"y": images[-1], **{f"stage_{i + 1}": image for i, image in enumerate(images)}}
        return images[-1]

    def _gates(self) -> tuple[Tensor, Tensor]:
        """Weights and biases of the four gates as one convolution, joined once for all stages."""
        gates = [getattr(self, name)[0] for name in GATES]
        return torch.cat([g.weight for g in gates]), torch.cat([g.bias for g in gates])


def _remember(z: Tensor, h: Tensor, c: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """A step of the convolutional LSTM: features, hidden state and cell to the next hidden state and cell."""
    i, f, g, o = F.conv2d(torch.cat((z, h), 1), weight, bias, padding=1).chunk(4, dim=1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def build(intermediates: bool = False, iterations: int = 6) -> PReNet:
    """PReNet: LSTM, five residual blocks."""
    return PReNet(iterations, intermediates=intermediates)


def build_r(intermediates: bool = False, iterations: int = 6) -> PReNet:
    """PReNet_r: LSTM, one residual block five times."""
    return PReNet(iterations, recursive=True, intermediates=intermediates)


def build_prn(intermediates: bool = False, iterations: int = 6) -> PReNet:
    """PRN: no LSTM, five residual blocks."""
    return PReNet(iterations, recurrent=False, intermediates=intermediates)


def build_prn_r(intermediates: bool = False, iterations: int = 6) -> PReNet:
    """PRN_r: no LSTM, one residual block five times."""
    return PReNet(iterations, recurrent=False, recursive=True, intermediates=intermediates)


REPO = "https://github.com/csdwren/PReNet"
COMMIT = "6d908d1e3c7ff5c26fee624112297ad1c8603ca7"
REAL = "trained for a forward that puts the residual blocks before the LSTM and runs four stages without '+ input'"
ABLATION = "trained for a variant of the paper's ablation (other memory, input, number of stages or loss)"

#: Files whose keys fit PReNet, or nearly, and whose images are wrong: path below logs/ -> (bytes, sha256, sha256 of the
#: first convolution's weights, by which they are known when they were saved again; reason).
FOREIGN = {
    "real/PReNet1.pth": (
        681694, "eba0c0ed941565abce9c61ceb8b36ff5e1532320c20efc11843f5f7fc810f7bb", "68e067fd75694ab1", REAL,
    ),
    "real/PReNet2.pth": (
        681694, "cbf6068474e64bf81ea8597fe1473cda19e7d0afadb3c81beb41f8dcc3751269", "5c4d088d4053e1cb", REAL,
    ),
    **{
        f"Ablation/{folder}/net_latest.pth": (size, sha256, first, ABLATION)
        for folder, size, sha256, first in (
            ("PReNet5_LSTM", 681694, "02a0a1c184a87bf816e341a092756666f52277b5d34d9e224ba6ae904d2e991e",
             "6c200c4753ba251d"),
            ("PReNet6_GRU", 607325, "2c0ed5ec96fe54c83a474c597741843ae4e98f1aac019470ce51235ac3bf66ff",
             "51ff03a2e39305ce"),
            ("PReNet6_LSTM", 681694, "b32541dfad6aa173c537dada8597475227e920fc9c8e1bbb80061363462bc14c",
             "29ace903f82cf310"),
            ("PReNet6_RecSSIM", 681694, "04ee235b6fed1798d48fbfd8b31f853d782fa6fdcae172f533979264a96ed7a4",
             "0f37bb53210cebd1"),
            ("PReNet6_x", 678238, "ae76d3dce017c181f6c541c4884d606315b4a09ca1d29757ca44c8688e845bfe",
             "ea1ca4a5f317fc5d"),
            ("PReNet7_LSTM", 681694, "c5971708f06fefcbd467588321958160806225bccb4415e9ca56073d68b8f812",
             "32deacd02767fbc1"),
        )
    },
}  # fmt: skip
_FOREIGN_FIRST = {first: reason for *_, first, reason in FOREIGN.values()}
FIRST = "conv0.0.weight"


def refuse_foreign(given: dict[str, Any]) -> None:
    """Refuse the authors' weights that were made for other forwards: most load without a missing key.

    They are known by their content: whatever the file is called, and however they were saved or wrapped again.

    Args:
        given: ``path`` of the file, ``network``.

    Raises:
        InputError: with the reason.
    """
    path = Path(given["path"])
    first = checkpoint.state_dict(path, {FIRST}).get(FIRST)
    reason = None if first is None else _FOREIGN_FIRST.get(digest(first))
    if reason is not None:
        raise InputError(
            f"these weights are not PReNet's: {reason}; they would load and give wrong images",
            where=path,
            hint="use the weights for rain100l, rain100h or rain1400",
        )


def digest(weights: Tensor) -> str:
    """First 16 digits of the sha256 over a tensor's values."""
    return sha256_bytes(weights.detach().cpu().contiguous().float().numpy().tobytes())[:16]


EXCLUDED = (
    "546 of Rain100H's 1,800 training pairs show backgrounds of its test set; the authors say that they left them out."
)


def _archive(path: str, name: str, size: int, sha256: str) -> Archive:
    return Archive("direct", f"{REPO}/raw/{COMMIT}/logs/{path}", name, sha256, size)


def _weights(name: str, folder: str, size: int, sha256s: tuple[str, str, str]) -> tuple[Weights, ...]:
    """The three sets of one network; each of its files has the same size."""
    return tuple(
        Weights(
            s.lower(),
            (s.lower(),),
            _archive(f"{s}/{folder}/net_latest.pth", f"{name}-{s.lower()}.pth", size, h),
            note=EXCLUDED if s == "Rain100H" else "",
        )
        for s, h in zip(("Rain100L", "Rain100H", "Rain1400"), sha256s, strict=True)
    )


def _refused() -> tuple[Weights, ...]:
    tags = {p: p.removesuffix("/net_latest.pth").removesuffix(".pth").replace("/", "-").lower() for p in FOREIGN}
    return tuple(
        Weights(tags[p], (), _archive(p, f"prenet-{tags[p]}.pth", size, sha256), refused=reason)
        for p, (size, sha256, _, reason) in FOREIGN.items()
    )


def _claims(*figures: tuple[float, float]) -> tuple[Claim, ...]:
    """README figures on Rain100H, Rain100L, Rain12, Rain1400; which weights gave Rain12's is not known."""
    sets = (("rain100h", "rain100h"), ("rain100l", "rain100l"), ("rain12", None), ("rain1400", "rain1400"))
    return tuple(
        Claim(testset, psnr, ssim, source="the authors' README", weights=weights)
        for (testset, weights), (psnr, ssim) in zip(sets, figures, strict=True)
    )


def _card(**own: Any) -> Card:
    """What the four networks share."""
    return Card(
        **{
            "paper": "Progressive Image Deraining Networks: A Better and Simpler Baseline",
            "venue": "CVPR 2019",
            "repo": REPO,
            "commit": COMMIT,
            "licence": "none stated",
            "padding": "none, any size",
            "quantise": "truncate",
            "options": {"iterations": "stages T, 6 as published"},
            **own,
        }
    )


_TRAP = "The files under logs/real and logs/Ablation belong to other forwards; most load without a word: refused here."
_TRUNCATES = "The authors' test script truncates to 8 bits; rounding changes the score by up to 0.3 dB on an image."

PRENET = Baseline(
    _card(
        name="prenet",
        title="PReNet",
        receptive=78,  # six stages of 13 convolutions 3x3: conv0, gates, ten in the blocks, conv
        params=168_963,
        gmacs=66.249031680,
        gmacs_conv=66.249031680,
        weights=(
            *_weights(
                "prenet",
                "PReNet6",
                681694,
                (
                    "cb9b743bb33cf6e5c56ba45f8ade93add46266dea9fa582e1934dc5eed942333",
                    "127c0098787c5272f1f8583f6c5202e7ef674f750cd145a1691912a6d9e96210",
                    "d5744dc2e35d73187a3f34936b3413884d293277073ffb78b961a78e65337879",
                ),
            ),
            *_refused(),
        ),
        claims=(
            *_claims((29.46, 0.899), (37.48, 0.979), (36.66, 0.961), (32.60, 0.946)),
            *(
                Claim(testset, psnr, ssim, source="DRSformer's README (retrained there)")
                for testset, psnr, ssim in (
                    ("rain200l", 37.80, 0.9814),
                    ("rain200h", 29.04, 0.8991),
                    ("rain12000", 33.17, 0.9481),
                    ("rain1400", 32.60, 0.9459),
                    ("spa-data", 40.16, 0.9816),
                )
            ),
        ),
        notes=(_TRAP, _TRUNCATES),
        fixture="PReNet",
    ),
    build=build,
    check=refuse_foreign,
)

PRENET_R = Baseline(
    _card(
        name="prenet-r",
        title="PReNet_r",
        receptive=78,
        params=94_979,
        gmacs=66.249031680,
        gmacs_conv=66.249031680,
        weights=_weights(
            "prenet-r",
            "PReNet6_r",
            382755,
            (
                "31dd4419cdb0f4da623d974747113d60e2c22803598c39dcf03d789f86a7f62b",
                "ece8127c651cf49026d998fa36857cb9d462c92cf535b640a377fc025f765b5f",
                "c639c19b342d6ae977b7ff8a4b2fbeb24179510a6e57b8bf5ef32d6b071fc8d5",
            ),
        ),
        claims=_claims((28.98, 0.892), (37.10, 0.977), (36.69, 0.962), (32.44, 0.944)),
        notes=(_TRUNCATES,),
        fixture="PReNet_r",
    ),
    build=build_r,
    check=refuse_foreign,
)

PRN = Baseline(
    _card(
        name="prn",
        title="PRN",
        receptive=72,  # as PReNet without the gates
        params=95_107,
        gmacs=37.258002432,
        gmacs_conv=37.258002432,
        weights=_weights(
            "prn",
            "PRN6",
            384596,
            (
                "ed4be5b78f76dcec5c781e1655dee48c2a90b56993de555945d72e31848aea99",
                "f1d56a7df0851eb087652663781d3f34c4c37a4c7ddd9a3f0802abbede1a06c2",
                "c6620860a51b54afec0c1eebe412f0f1ca00128100f5b23c13758605206a0bf2",
            ),
        ),
        claims=_claims((28.07, 0.884), (36.99, 0.977), (36.62, 0.952), (31.69, 0.941)),
        notes=(_TRUNCATES,),
        fixture="PRN",
    ),
    build=build_prn,
    check=refuse_foreign,
)

PRN_R = Baseline(
    _card(
        name="prn-r",
        title="PRN_r",
        receptive=72,
        params=21_123,
        gmacs=37.258002432,
        gmacs_conv=37.258002432,
        weights=_weights(
            "prn-r",
            "PRN6_r",
            86047,
            (
                "87ee3b1c027b33e7e532a4881c3b077d100cf40c65dd2843690600e3023acee0",
                "99242ce096c9c617bd529a5e189797e8955a4b8611d355974c7c1c64a18b9074",
                "c0f7f18f3d33e26f50af8c693494a03c2776c627140a1d8e0514edd53e9398fb",
            ),
        ),
        claims=_claims((27.43, 0.874), (36.11, 0.973), (36.16, 0.961), (31.31, 0.937)),
        notes=(_TRUNCATES,),
        fixture="PRN_r",
    ),
    build=build_prn_r,
    check=refuse_foreign,
)
