"""Analysis of one series of numbers: forecasts, anomalies, change points, features, seasons, regimes, trends.

Every function takes a one-dimensional float array in time order, equally spaced unless it says otherwise, NaN where a
value is missing, and returns plain numbers or a frozen dataclass. Same input, same output. Input that cannot carry the
question raises ValueError, which says how many values are needed. Libraries load when first used.
"""
