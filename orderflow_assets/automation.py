"""When an asset computes itself: named conditions, each with its reason.

All of them work on hours with the running one included (``end_offset=1``) and on series.
"""

from __future__ import annotations

from datetime import timedelta

from dagster import AssetSelection, AutomationCondition

LOOKBACK = timedelta(hours=48)
"""How old an hour may be, by the clock, for late data to recompute it by itself."""

inputs_checked: AutomationCondition = AutomationCondition.all_deps_match(
    AutomationCondition.all_checks_match(
        AutomationCondition.check_passed() | AutomationCondition.will_be_requested(), blocking_only=True
    )
    | AutomationCondition.will_be_requested()
).with_label("inputs_checked")
"""Every blocking check of every input has passed for the same hour.

An input that is about to be computed in the same run counts as checked: inside a run a failing blocking check stops
what follows by itself, and waiting for it here would split each hour into one run per layer.
"""

failed_once: AutomationCondition = (
    AutomationCondition.execution_failed()
    .newly_true()
    .since(AutomationCondition.newly_updated())
    .newly_true()
    .with_label("failed_once")
)
"""The first failure since the last success, and only that one: what fails for good is not tried for ever.

In a run over many hours one hour that fails a check stops them all. The second try leaves out the hour that
``inputs_checked`` holds and brings the others through.
"""

overtaken: AutomationCondition = (
    AutomationCondition.any_deps_match(AutomationCondition.newly_updated()).since(AutomationCondition.newly_updated())
    & AutomationCondition.newly_updated()
).with_label("overtaken")
"""An input changed after the asset was computed, both since the last tick; the change must not pass for handled."""

missing_at_first_sight = (AutomationCondition.initial_evaluation() & AutomationCondition.missing()).with_label(
    "missing_at_first_sight"
)
"""Hours that were reported before the automation first looked, or that were missing when a condition changed."""

_handled = (
    AutomationCondition.newly_requested()
    | AutomationCondition.newly_updated()
    | AutomationCondition.initial_evaluation()
)
_later_than_handled = (
    failed_once
    | overtaken
    | missing_at_first_sight
    | AutomationCondition.any_deps_match(AutomationCondition.will_be_requested())
)

_due = ~AutomationCondition.in_latest_time_window() & (
    AutomationCondition.newly_missing() | AutomationCondition.any_deps_updated() | _later_than_handled
)

on_new_or_late_data = (
    AutomationCondition.in_latest_time_window(LOOKBACK)
    & _due.since(_handled & ~_later_than_handled)
    & ~AutomationCondition.any_deps_missing()
    & ~AutomationCondition.any_deps_in_progress()
    & ~AutomationCondition.in_progress()
    & inputs_checked
).with_label("on_new_or_late_data")
"""An hour is computed when its inputs are there and again when one of them changes, up to :data:`LOOKBACK` back.

Exactly that hour is computed. The hour that runs by the wall clock is left to the schedule ``running_hour``; later
hours whose rolling baselines reach back into a late one are asked for by the sensor ``late_corrections``.
"""

on_new_data_whatever_the_model = on_new_or_late_data.ignore(AssetSelection.groups("models")).with_label(
    "on_new_data_whatever_the_model"
)
"""For forecasts: a retrained model serves the next hour and does not rewrite what was forecast before."""
