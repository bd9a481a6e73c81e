"""Drift of what serves: detectors, thresholds, the verdict, inputs, health, and what follows from a finding."""
