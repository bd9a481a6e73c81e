"""Calculators: what is said about a symbol from stored rows, one declared function each.

What a plugin file imports stands here.
"""

from orderflow_assets.calculators.calculator import calculator
from orderflow_assets.calculators.reading import Rows, leading_market, sampled, scope
from orderflow_assets.calculators.result import CalculatorSignal, Result, strength

__all__ = ["CalculatorSignal", "Result", "Rows", "calculator", "leading_market", "sampled", "scope", "strength"]
