"""The nouns. Frozen, standard library only; everything that travels between stages is one of these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any
from typing import Protocol as Structural


class Subset(StrEnum):
    """The four rain types of UniRain: day or night, streaks or drops."""

    DRS = "DRS"
    DRD = "DRD"
    NRS = "NRS"
    NRD = "NRD"

    @property
    def flags(self) -> dict[str, bool]:
        """What is true of every pair of it, as fields of ``Source``."""
        return {
            "night": self.value[0] == "N",
            "drop": self.value[2] == "D",
            "streak": self.value[2] == "S",
            "accumulation": False,
        }


class Tier(StrEnum):
    """Levels of the paper's data pyramid, from the top."""

    REAL = "real"
    DISTILLED = "distilled"
    REJECTED = "rejected"


def subset_of(streak: bool | None, drop: bool | None, night: bool | None) -> Subset | None:
    """The subset that flags give: a drop makes DRD/NRD, else a streak makes DRS/NRS, neither or an unknown gives none.

    Mixed rain belongs to the drops (the paper evaluates RainDS-real RDS so).
    """
    if night is None:
        return None
    if drop:
        return Subset.NRD if night else Subset.DRD
    if drop is None:
        return None
    if streak:
        return Subset.NRS if night else Subset.DRS
    return None


@dataclass(frozen=True)
class Archive:
    """One file or folder that a source is published as.

    Args:
        host: ``direct`` (plain URL), ``zenodo``, ``hub`` (Hugging Face), ``gdrive``, or one that only a person can
            use: ``baidu``, ``onedrive``, ``kaggle``, ``dropbox``, ``page``.
        ref: URL, record, repository or file id, as the host wants it.
        name: file name to keep it under, or "" for a folder.
        sha256: recorded only where it was published; otherwise None, and recorded at first download.
        size: bytes, where published.
        password: Baidu's extraction code, where the authors published one.
        part: goes with the archive before it (train and test in two files); others are mirrors of the whole.
    """

    host: str
    ref: str
    name: str = ""
    sha256: str | None = None
    size: int | None = None
    password: str | None = None
    part: bool = False

    FETCHABLE = ("direct", "zenodo", "hub", "gdrive")

    @property
    def fetchable(self) -> bool:
        """Whether a program can fetch it."""
        return self.host in self.FETCHABLE


@dataclass(frozen=True)
class Source:
    """One public dataset release.

    Args:
        name: lower case with hyphens; the first part of every key.
        title: the authors' name for it.
        paper: who published it, where, when.
        homepage: repository or page.
        licence: SPDX id, the authors' words, or ``"unstated"``.
        layouts: ``rainrag.data.sources.layouts.Layout`` objects, tried in this order.
        streak, drop, night, accumulation: flags of every pair, None where it differs from pair to pair (the layout or
            the pixels then decide).
        real: photographs in real rain (True) or rendered (False).
        counts: pairs a split, as published; None where no source says.
        role: ``pairs``, ``unlabelled`` or ``test`` (only ever a test set).
        weather: free label, ``rain`` unless the layout says otherwise.
        gt_estimated: the target was computed (video, low rank), not photographed.
        contains: other sources that this one was merged from.
        superseded_by: a later release.
        per_scene: advised cap of pairs a scene, None for no cap.
        notes: quirks worth knowing, one sentence each.
    """

    name: str
    title: str
    paper: str
    homepage: str
    licence: str
    layouts: tuple[Any, ...]
    streak: bool | None
    drop: bool | None
    night: bool | None
    real: bool
    accumulation: bool | None = False
    counts: dict[str, int | None] = field(default_factory=dict)
    archives: tuple[Archive, ...] = ()
    role: str = "pairs"
    weather: str = "rain"
    gt_estimated: bool = False
    contains: tuple[str, ...] = ()
    superseded_by: str | None = None
    per_scene: int | None = None
    notes: tuple[str, ...] = ()
    citation: str = ""

    @property
    def subsets(self) -> tuple[str, ...]:
        """Subsets that its pairs can fall into."""
        flags = [(s, d, n) for s in _both(self.streak) for d in _both(self.drop) for n in _both(self.night)]
        found = {subset_of(*f) for f in flags}
        return tuple(s.value for s in Subset if s in found)

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary for ``--json``."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        plain["archives"] = [asdict(a) for a in self.archives]
        plain["layouts"] = [layout.expected for layout in self.layouts]
        return {**plain, "subsets": list(self.subsets)}


def _both(flag: bool | None) -> tuple[bool, ...]:
    return (True, False) if flag is None else (flag,)


@dataclass(frozen=True)
class PairFiles:
    """What a layout finds: one rainy file and its target, by path relative to the root, before any pixel is read.

    Args:
        stem: relative path without extension, without the folders that name split and side: the key's last part.
        lq: rainy file.
        gt: clean file; None for unlabelled photographs.
        split: ``train``, ``test`` or ``validation``.
        scene: all rainy versions of one clean image share it; unique within the source.
        half: ``None``, or for side-by-side files the half that is rainy: ``left`` or ``right`` (lq == gt then).
        streak, drop, night, accumulation, weather: override the source's, where the layout knows better.
        fault: planted fault (rendered data only).
    """

    stem: str
    lq: str
    gt: str | None
    split: str
    scene: str
    half: str | None = None
    streak: bool | None = None
    drop: bool | None = None
    night: bool | None = None
    accumulation: bool | None = None
    weather: str | None = None
    fault: str | None = None


@dataclass(frozen=True)
class RainPair:
    """A rainy image (lq) and its clean target (gt): one row of a dataset, without the pixels.

    Sizes are after EXIF rotation. Hashes: sha256 of the encoded bytes, 256-bit perceptual hash of the luma.
    """

    key: str
    source: str
    split: str
    scene: str
    subset: Subset | None
    streak: bool | None
    drop: bool | None
    night: bool | None
    accumulation: bool | None
    weather: str
    real: bool
    licence: str
    lq_sha256: str
    gt_sha256: str | None
    lq_phash: str
    gt_phash: str | None
    lq_width: int
    lq_height: int
    gt_width: int | None
    gt_height: int | None
    lq_format: str
    gt_format: str | None
    parent_sha256: str | None = None
    fault: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reject:
    """A file or pair that was left out, with a reason from a closed list."""

    key: str
    reason: str
    detail: str


@dataclass(frozen=True)
class Reference:
    """One real rainy photograph in the store: the paper's relation triplet (caption T, feature f, image I)."""

    key: str
    sha256: str
    caption: str
    licence: str


@dataclass(frozen=True)
class Match:
    """One query-reference hit, with one score for each stage of the cascade (equations 1-3).

    Args:
        key: the reference.
        semantic: distance of caption features, smaller is nearer (eq. 1).
        visual: cosine of image features (eq. 2).
        structural: SSIM of the two images (eq. 3); None where the stage was not reached.
        rank: 0 for the best of the last stage.
    """

    key: str
    semantic: float
    visual: float
    structural: float | None
    rank: int


@dataclass(frozen=True)
class Shown:
    """An image as a voter sees it: encoded bytes and what was measured on it.

    Args:
        signals: name -> vector, for the statistical voters (see rainrag.voters.statistical).
    """

    key: str
    sha256: str
    data: bytes
    caption: str = ""
    signals: Mapping[str, Sequence[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Question:
    """What is put to a voter: is the rain in this image like real rain in such scenes?

    Args:
        query: the rainy image.
        references: the retrieved set S(q), best first; empty for judging the query alone.
        neighbours: keys of C2(q), the cascade's second stage, for voters that compare with a neighbourhood.
        stratum: group that a statistical voter is calibrated in (day or night, streak or drop).
    """

    query: Shown
    references: tuple[Shown, ...]
    neighbours: tuple[str, ...] = ()
    stratum: str = ""


@dataclass(frozen=True)
class Ballot:
    """One voter's answer on one query.

    Args:
        answer: ``yes``, ``no`` or ``abstain``; ``skipped`` where the others had decided already.
        p_yes: probability of yes in [0, 1]; None where the voter gave none.
        raw: what the voter literally said or measured, short.
    """

    key: str
    voter: str
    revision: str
    prompt: str
    references: tuple[str, ...]
    answer: str
    p_yes: float | None
    raw: str


class Voter(Structural):
    """A judge. ``revision`` and ``prompt`` are part of every ballot's identity, so that none is paid for twice."""

    name: str

    @property
    def revision(self) -> str:
        """Model revision, or fingerprint of the calibration."""
        ...

    @property
    def prompt(self) -> str:
        """Hash of the prompt and of all settings that change an answer."""
        ...

    def setup(self) -> None:
        """Load the model; called once."""
        ...

    def vote(self, questions: Sequence[Question]) -> list[Ballot]:
        """One ballot a question, in order. A question that cannot be judged is an abstention, with the reason raw."""
        ...


class Captioner(Structural):
    """Describes images; ``identity`` is part of the store's."""

    def identity(self) -> dict[str, Any]:
        """Model, revision, settings."""
        ...

    def caption(self, images: Sequence[Any]) -> list[str]:
        """One sentence an image, (H, W, 3) uint8."""
        ...


class Encoder(Structural):
    """Turns images and captions into vectors; ``identity`` is part of the store's."""

    def identity(self) -> dict[str, Any]:
        """Model, revision, settings."""
        ...

    def images(self, images: Sequence[Any]) -> Any:
        """(N, D) float32 features of (H, W, 3) uint8 images."""
        ...

    def texts(self, captions: Sequence[str]) -> Any:
        """(N, E) float32 unit vectors."""
        ...


@dataclass(frozen=True)
class Verdict:
    """The majority over ballots (eq. 5), or the gate before the vote.

    Args:
        tally: (yes, no, abstain).
        margin: yes minus no over the voters asked.
        reason: from the closed list in rainrag.voters.voting.REASONS.
        p: p-value of the calibrated panel; None where the majority decided or the pair did not come to the vote.
    """

    key: str
    keep: bool
    tally: tuple[int, int, int]
    margin: int
    reason: str
    tier: Tier
    p: float | None = None


@dataclass(frozen=True)
class Protocol:
    """How PSNR and SSIM are computed; every number carries its one-line signature.

    Args:
        name: of the preset.
        psnr_space, ssim_space: ``rgb``; ``y601-studio`` (BT.601 luma in 16..235, float); ``y601-studio-u8`` (the same
            rounded, as MATLAB's rgb2ycbcr returns it for uint8); ``y601-full`` (0..255); ``yiq`` (as pyiqa: full-range
            luma, for SSIM rounded and with the contrast term clipped at 0).
        quantise: how float outputs become 8 bit before they are scored: ``u8round``, ``u8trunc`` or ``float`` (not).
        border: pixels cut from each side first.
        multiple: centre-crop to multiples of this first (1: no crop).
        window: ``valid`` or ``same`` for SSIM's 11 x 11 Gaussian of sigma 1.5.
        lpips: whether the preset asks for LPIPS (AlexNet) too.
    """

    name: str
    psnr_space: str = "y601-studio"
    ssim_space: str = "y601-studio"
    quantise: str = "u8round"
    border: int = 0
    multiple: int = 1
    window: str = "valid"
    lpips: bool = False

    VERSION = 1

    def signature(self, metric: str, inference: str = "full") -> str:
        """One line that says all: metric, space, quantisation, region, pairing, averaging, version.

        Args:
            metric: ``psnr``, ``ssim`` or the name of another.
            inference: ``full``, or how the network saw the image (``tile256-32``); it is part of a number's identity.
        """
        region = "full"
        if self.border or self.multiple > 1:
            region = "+".join(
                [f"border{self.border}"] * bool(self.border) + [f"crop{self.multiple}"] * (self.multiple > 1)
            )
        space = {"psnr": self.psnr_space, "ssim": self.ssim_space}.get(metric, "rgb")
        parts = [metric, space, self.quantise]
        if metric == "ssim":
            parts.append(f"g11-1.5-{self.window}")
        parts.append(region)
        if inference != "full":
            parts.append(inference)
        return "|".join([*parts, "pair:key", "mean-img", f"v{self.VERSION}"])


@dataclass(frozen=True)
class Result:
    """One model on one test set under one protocol; the JSON of a run holds exactly these fields."""

    model: str
    weights: str | None
    weights_sha256: str | None
    testset: str
    testset_sha256: str
    protocol: str
    signature: dict[str, str]
    inference: str
    n: int
    mean: dict[str, float | None]
    interval: dict[str, tuple[float, float] | None]
    environment: dict[str, str]
    seconds: float
    peak_memory_mb: float | None
    trained_on: tuple[str, ...] | None
    clean: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()
