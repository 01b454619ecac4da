"""Filters over time for motions: Butterworth, for finished recordings, and One-Euro, which never looks ahead."""

from collections.abc import Callable
from types import ModuleType

import numpy as np

from training.exports.motion import Motion, fill_gaps
from utils.commands import install_extra
from utils.errors import UserError

BUTTERWORTH_CUTOFF, BUTTERWORTH_ORDER = 6.0, 4  # hertz: the usual ones for human motion; the order of both passes
SLOW = 2 * BUTTERWORTH_CUTOFF  # instants per second, at which motions have nothing above the cutoff
MIN_CUTOFF, SPEED_COEFFICIENT, SPEED_CUTOFF = 1.0, 1.5, 1.0  # hertz, per meter, hertz: for joints in meters


def butterworth(values: np.ndarray, rate: float) -> np.ndarray:
    """Values (T,...) low-passed forwards and backwards, which delays nothing: at 6 Hz, 0.707 of an amplitude is left.

    As they are at rates that have nothing above 6 Hz.
    """
    signal = _scipy_signal()
    if rate <= SLOW or len(values) < 2:
        return np.array(values)
    # Each of the two passes has half of the order, and both together halve what is at their cutoff. As usual it is
    # raised, by 1 / 0.802, so that 0.707 is left at 6 Hz; on the axis of analog frequencies, it stays below rate / 2.
    factor = (2**0.5 - 1) ** (1 / BUTTERWORTH_ORDER)
    cutoff = rate / np.pi * np.arctan(np.tan(np.pi * BUTTERWORTH_CUTOFF / rate) / factor)
    sections = signal.butter(BUTTERWORTH_ORDER // 2, cutoff, fs=rate, output="sos")
    padding = min(len(values) - 1, round(rate))
    return signal.sosfiltfilt(sections, values, axis=0, padlen=padding)


def one_euro(values: np.ndarray, rate: float) -> np.ndarray:
    """Values (T,...) low-passed at a frequency that rises with their speed (Casiez et al., "1 Euro Filter", 2012)."""
    result = np.array(values, np.float64)
    speed = np.zeros_like(result[0])
    for instant in range(1, len(result)):
        now = (values[instant] - result[instant - 1]) * rate
        speed = speed + _share(SPEED_CUTOFF, rate) * (now - speed)
        share = _share(MIN_CUTOFF + SPEED_COEFFICIENT * np.abs(speed), rate)
        result[instant] = result[instant - 1] + share * (values[instant] - result[instant - 1])
    return result


FILTERS: dict[str, Callable[[np.ndarray, float], np.ndarray] | None] = {
    "butterworth": butterworth,
    "one-euro": one_euro,
    "none": None,
}


def check_filter(name: str) -> None:
    """UserError for an unknown filter, and for one whose package is missing."""
    if name not in FILTERS:
        raise UserError(f"unknown filter {name!r}; expected one of {', '.join(FILTERS)}")
    if name == "butterworth":
        _scipy_signal()


def smooth(motion: Motion, name: str) -> Motion:
    """The motion after the filter `name`; gaps stay gaps, and the filter sees them filled from their neighbors."""
    use = FILTERS[name]
    if use is None or not motion.known.any():
        return motion
    joints = use(fill_gaps(motion.joints), motion.instants_per_second)
    return motion._replace(joints=np.where(motion.known[:, None, None], joints, np.nan))


def smoothing_text(motion: Motion, name: str) -> str:
    """What `smooth` does to a motion, in words."""
    if FILTERS[name] is not None and len(motion.instants) < 2:
        return f"none ({name} needs two instants)"
    if name == "butterworth" and motion.instants_per_second <= SLOW:
        return (
            f"none (butterworth removes what is above {BUTTERWORTH_CUTOFF:g} Hz, of which "
            f"{motion.instants_per_second:.3g} instants per second hold nothing)"
        )
    return name


def _share(cutoff, rate: float):
    """How much of a new value a low-pass of the first order takes."""
    return 1 / (1 + rate / (2 * np.pi * cutoff))


def _scipy_signal() -> ModuleType:
    try:
        from scipy import signal
    except ImportError as error:
        raise UserError(f"the Butterworth filter needs the package 'scipy': {install_extra('estimate')}") from error
    return signal
