"""Forecasting: frame of a series, models, intervals, registry, scores and drift. Importable without Dagster.

Nothing here imports a model library at its top; each is imported inside the function that needs it.
"""
