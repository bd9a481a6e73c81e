"""Composite signals: a weighted mean of components made of features."""
