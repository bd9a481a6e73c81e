"""Where each drift statistic starts to speak: one threshold each, declared here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Threshold:
    """``statistic`` speaks when it is ``sense`` the ``value``; ``source`` says where the value comes from."""

    statistic: str
    sense: str
    value: float
    meaning: str
    source: str


_STUDY = "tuned on the tuning seeds of the planted-drift study"

THRESHOLDS: Mapping[str, Threshold] = {
    threshold.statistic: threshold
    for threshold in (
        Threshold(
            "adwin",
            "confidence",
            1e-5,
            "ADWIN's delta on scaled absolute errors; speaks only when their mean rose",
            f"Bifet & Gavaldà 2007; {_STUDY}",
        ),
        Threshold(
            "page_hinkley",
            "above",
            100.0,
            "summed excess of scaled absolute errors over their mean and 0.05, forgetting 0.0001, after 200 values",
            f"Page 1954; {_STUDY}",
        ),
        Threshold(
            "hddm",
            "confidence",
            1e-3,
            "HDDM-A's confidence on misses of the 95 % interval",
            "Frías-Blanco et al. 2015, their default",
        ),
        Threshold(
            "ks_distance",
            "above",
            0.15,
            "largest gap between the two distribution functions: the size a shift must have to matter",
            "set beforehand; its false alarms and delays are in the planted-drift study",
        ),
        Threshold(
            "ks_p",
            "below",
            0.01,
            "p-value of that gap with effective sample sizes, Benjamini-Hochberg over all tests of one check",
            "convention",
        ),
        Threshold(
            "psi",
            "above",
            0.2,
            "population stability index over the reference's deciles; lifts a shift of a distribution to MEDIUM",
            "convention: 0.1 to 0.2 is moderate, above is large",
        ),
        Threshold(
            "jensen_shannon",
            "above",
            0.2,
            "Jensen-Shannon distance, base 2, over the same bins; told in the details, no voice of its own",
            "what a PSI of 0.2 comes to: the root of 0.2 / (8 ln 2), rounded",
        ),
        Threshold(
            "dm_p",
            "below",
            0.01,
            "one-sided Diebold-Mariano p-value that the model is no worse than naive on the recent forecasts",
            "Diebold & Mariano 1995; Harvey, Leybourne & Newbold 1997; convention",
        ),
        Threshold(
            "pace",
            "above",
            2.5,
            "log-likelihood by which a jump fits larger errors better than a climb does (sudden), or worse (gradual)",
            _STUDY,
        ),
    )
}


def limit(statistic: str) -> float:
    """The threshold of a statistic."""
    return THRESHOLDS[statistic].value
