"""What rain is made of: drop sizes, fall speeds, oscillation, extinction. Diameters in millimetres."""

from __future__ import annotations

import numpy as np

from rainrag.core.images import F64

N0 = 8000.0  # drops a cubic metre and millimetre of diameter (Marshall and Palmer 1948)
D_MIN, D_MAX = 0.5, 6.0  # below: drizzle that no camera resolves; above: drops break up
WATER_INDEX = 1.333
_SURFACE_TENSION = 0.0728  # N/m, water at 20 degrees
_DENSITY = 998.0  # kg/m3


def slope(rate: float) -> float:
    """Decay of the drop size distribution, per millimetre: 4.1 R^-0.21, R in mm/h (Marshall and Palmer 1948)."""
    return float(4.1 * rate**-0.21)


def concentration(diameter: F64 | float, rate: float) -> F64:
    """Drops a cubic metre and millimetre of diameter: N0 exp(-slope D) (Marshall and Palmer 1948)."""
    return np.asarray(N0 * np.exp(-slope(rate) * np.asarray(diameter, np.float64)))


def terminal_velocity(diameter: F64 | float) -> F64:
    """Fall speed in still air, m/s: 9.65 - 10.3 exp(-0.6 D), the fit of Atlas et al. (1973) to Gunn and Kinzer (1949).

    Good for 0.6 to 5.8 mm; smaller drops are held at the speed of 0.3 mm, where the fit nears zero.
    """
    d = np.maximum(np.asarray(diameter, np.float64), 0.3)
    return np.asarray(9.65 - 10.3 * np.exp(-0.6 * d))


def oscillation(diameter: F64 | float) -> F64:
    """Frequency of a drop's fundamental (n = 2) oscillation, Hz: sqrt(8 s / (rho r^3)) / 2 pi (Rayleigh 1879)."""
    radius = np.asarray(diameter, np.float64) * 0.5e-3
    return np.asarray(np.sqrt(8 * _SURFACE_TENSION / (_DENSITY * radius**3)) / (2 * np.pi))


def extinction(rate: float) -> float:
    """Extinction coefficient of rain, 1/m: the integral of Q pi D^2/4 N(D), which is Q pi N0 / (2 slope^3) 1e-6.

    Q = 1: the other half of the geometric-optics value 2 is light diffracted by less than a pixel (van de Hulst 1957).
    """
    return float(0.5 * np.pi * N0 / slope(rate) ** 3 * 1e-6)


def visible_count(rate: float, focal: float, pixels: int, least: float) -> float:
    """Expected drops in view whose image is at least ``least`` pixels wide.

    A drop of diameter D (m) looks wider than ``least`` nearer than z = focal D / least; the frustum up to there holds
    pixels z^3 / (3 focal^2) cubic metres. The integral over Marshall-Palmer sizes is closed: 6 / slope^4.

    Args:
        focal: focal length in pixels.
        pixels: image area in pixels.
    """
    volume_at_1mm = pixels * focal * 1e-9 / (3 * least**3)
    return float(N0 * volume_at_1mm * 6 / slope(rate) ** 4)


def visible_drops(rng: np.random.Generator, count: int, rate: float, least: float) -> tuple[F64, F64]:
    """Diameters (mm) and image widths (pixels) of ``count`` drops in view that are at least ``least`` pixels wide.

    From the same integral: diameters follow D^3 exp(-slope D), a Gamma law; widths follow a Pareto law of index 3
    (volume grows as depth cubed), independent of the diameter.
    """
    diameter = np.clip(rng.gamma(4.0, 1 / slope(rate), count), D_MIN, D_MAX)
    width = least * (1 - rng.random(count)) ** (-1 / 3)
    return diameter, width


def snell_deviation(tilt: F64) -> tuple[F64, F64]:
    """How a ray that leaves water bends at a surface tilted by ``tilt`` radians, and how much of it gets through.

    Returns:
        (deviation in radians, away from the normal; transmitted share in [0, 1], Fresnel's mean over polarisations,
        0 beyond total reflection at 48.6 degrees).
    """
    sine = np.clip(WATER_INDEX * np.sin(tilt), 0, 1)
    out = np.arcsin(sine)
    cos_in, cos_out = np.cos(tilt), np.cos(out)
    s = (WATER_INDEX * cos_in - cos_out) / (WATER_INDEX * cos_in + cos_out)
    p = (cos_in - WATER_INDEX * cos_out) / (cos_in + WATER_INDEX * cos_out)
    through = np.where(sine < 1, 1 - 0.5 * (s**2 + p**2), 0.0)
    return out - tilt, through
