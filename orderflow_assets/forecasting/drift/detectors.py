"""Detectors of growth in a stream of errors: the positions of their alarms. After an alarm each starts afresh."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from orderflow_assets.forecasting.drift.thresholds import limit


def adwin(errors: np.ndarray) -> list[int]:
    """ADWIN (Bifet & Gavaldà 2007) on absolute errors; a cut after which the mean is lower is no alarm."""
    from river.drift import ADWIN

    detector, alarms = ADWIN(delta=limit("adwin")), []
    update = detector.update
    for place, value in enumerate(errors.tolist()):
        before = detector.estimation
        update(value)
        if detector.drift_detected and detector.estimation > before:
            alarms.append(place)
    return alarms


def page_hinkley(errors: np.ndarray) -> list[int]:
    """Page-Hinkley on absolute errors, for a rising mean."""
    from river.drift import PageHinkley

    detector = PageHinkley(min_instances=200, delta=0.05, threshold=limit("page_hinkley"), mode="up")
    alarms, update = [], detector.update
    for place, value in enumerate(errors.tolist()):
        update(value)
        if detector.drift_detected:
            alarms.append(place)
    return alarms


def hddm(misses: np.ndarray) -> list[int]:
    """HDDM-A (Frías-Blanco et al. 2015) for a rising share of ones, in one pass over arrays instead of values.

    The cut is the place up to which the upper Hoeffding bound of the mean was lowest. An alarm is a mean that has
    risen above the mean at the cut by more than chance allows.
    """
    confidence = limit("hddm")
    alarms: list[int] = []
    start = 0
    while start < len(misses):
        mean = np.cumsum(misses[start:])
        count = np.arange(1, len(mean) + 1)
        mean = mean / count
        bound = mean + np.sqrt(np.log(1 / confidence) / (2 * count))
        cut = np.maximum.accumulate(np.where(bound <= np.minimum.accumulate(bound), count, 0))
        allowed = np.sqrt((count - cut) / (cut * count) / 2 * np.log(2 / confidence))
        risen = (count > cut) & (mean - mean[cut - 1] >= allowed)
        if not risen.any():
            break
        start += int(risen.argmax()) + 1
        alarms.append(start - 1)
    return alarms


ON_ERRORS: Mapping[str, Callable[[np.ndarray], list[int]]] = {"adwin": adwin, "page_hinkley": page_hinkley}
