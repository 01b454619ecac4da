"""By how much one signal comes later than another, and how sure that is."""

from typing import NamedTuple

import numpy as np

MIN_OVERLAP = 0.3  # of the shorter signal
APART = 0.12  # seconds from the best lag, from which on another one counts as a rival
SURE_CORRELATION, SURE_LEAD = 0.3, 0.15


class Lag(NamedTuple):
    """steps: of the second signal: its step `t + steps` shows what step t of the first one does; with a fraction.
    correlation: there, at most 1. lead: over the best correlation at other lags."""

    steps: float
    correlation: float
    lead: float

    @property
    def sure(self) -> bool:
        """Whether the lag may be relied on."""
        return self.correlation >= SURE_CORRELATION and self.lead >= SURE_LEAD


def find_lag(first: np.ndarray, second: np.ndarray, rate: float, most: float) -> Lag | None:
    """The lag between signals (N,K) and (M,K), of `rate` steps per second, within `most` seconds to either side.

    NaN is unknown. None where the signals have nothing in common.
    """
    reach = round(most * rate)
    if not len(first) or not len(second):
        return None
    lags = np.arange(-min(reach, len(first) - 1), min(reach, len(second) - 1) + 1)
    values = _correlations(first, second, lags)
    if not np.isfinite(values).any() or np.nanmax(values) <= 0:
        return None
    best = int(np.nanargmax(values))
    rivals = np.where(np.abs(lags - lags[best]) > max(2, APART * rate), values, np.nan)
    rival = np.nanmax(rivals) if np.isfinite(rivals).any() else 0.0
    return Lag(lags[best] + _fraction(values, best), float(values[best]), float(values[best] - max(rival, 0)))


def _correlations(first: np.ndarray, second: np.ndarray, lags: np.ndarray) -> np.ndarray:
    """Correlation at each lag over what both signals know, times the root of its share; NaN where it is small."""
    # By FFT, because sounds have a million steps: sums over all overlaps at once.
    known = [np.isfinite(signal) for signal in (first, second)]
    count = 1 << int(np.ceil(np.log2(len(first) + len(second))))

    def summed(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        spectrum = np.conj(np.fft.rfft(one, count, axis=0)) * np.fft.rfft(other, count, axis=0)
        return np.fft.irfft(spectrum, count, axis=0)[lags % count].sum(1)

    there = [part.astype(np.float64) for part in known]
    filled = [np.where(part, signal, 0.0) for signal, part in zip((first, second), known, strict=True)]
    means = [one.sum(0) / part.sum(0).clip(1) for one, part in zip(filled, there, strict=True)]
    centered = [(one - mean) * part for one, mean, part in zip(filled, means, there, strict=True)]
    overlap = summed(there[0], there[1])
    product = summed(centered[0], centered[1])
    power = summed(centered[0] ** 2, there[1]).clip(1e-12) * summed(there[0], centered[1] ** 2).clip(1e-12)
    share = overlap / max(1.0, min(part.sum() for part in there))
    # What agrees in a small part only proves less.
    values = product / np.sqrt(power) * np.sqrt(share.clip(0, 1))
    return np.where((share >= MIN_OVERLAP) & (overlap > 2), values, np.nan)


def _fraction(values: np.ndarray, best: int) -> float:
    """Where between steps the parabola through the best value and its neighbors is highest."""
    if not 0 < best < len(values) - 1 or not np.isfinite(values[best - 1 : best + 2]).all():
        return 0.0
    before, here, after = values[best - 1 : best + 2]
    bend = before - 2 * here + after
    return float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5)) if bend < 0 else 0.0
