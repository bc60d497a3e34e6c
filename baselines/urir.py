"""URIR (AAAI 2025): no public code or weights, so only its published figures."""

from __future__ import annotations

from rainrag.baselines.card import Baseline, Card, Claim

_PROTOCOL = (
    "not stated; the UniRain authors' metric script points to PSNR on RGB and SSIM on the luma of YIQ, on images "
    "centre-cropped to multiples of 16"
)
_TABLE1 = "UniRain, Table 1 (retrained by its authors on RainRAG)"
_TABLE2 = "UniRain, Table 2 (retrained by its authors on RainRAG)"

URIR = Baseline(
    Card(
        name="urir",
        title="URIR",
        paper="Towards Universal Rainy Image Restoration: Benchmark and Baseline",
        venue="AAAI 2025",
        repo="",
        commit="",
        licence="none: nothing was published",
        padding="unknown",
        quantise=None,
        claims=tuple(
            Claim(testset, psnr, ssim, _PROTOCOL, source)
            for testset, psnr, ssim, source in (
                ("rainrag-drs", 28.29, 0.8386, _TABLE1),
                ("rainrag-drd", 23.19, 0.7483, _TABLE1),
                ("rainrag-nrs", 34.32, 0.9570, _TABLE1),
                ("rainrag-nrd", 25.82, 0.8263, _TABLE1),
                ("average of the four RainRAG subsets", 27.91, 0.8425, _TABLE1),
                ("realrain-1k-l", 33.54, 0.9686, _TABLE2),
                ("realrain-1k-h", 31.10, 0.9550, _TABLE2),
                ("rainds-real-rd", 20.44, 0.5945, _TABLE2),
                ("rainds-real-rds", 19.87, 0.5689, _TABLE2),
                ("weatherbench-rain", 33.50, 0.9435, _TABLE2),
                ("average of the five public test sets", 27.69, 0.8061, _TABLE2),
            )
        ),
        notes=(
            "No public code or weights were found: the network (a multi-scale vision Mamba) cannot be built here.",
            "Its figures are those that the UniRain paper prints for it.",
            "Its data set is called URIR-8K.",
        ),
    ),
    build=None,
    trainable=False,
)
