"""Bars, features, signals and forecasts: pure computing here, Dagster only under ``defs/``."""
