"""Forecasting in Dagster: training and serving of models, forecasts, their scores, and drift."""
