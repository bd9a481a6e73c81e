"""What is said about a symbol by the hour or the day: built-in calculators and those of the plugin files."""

from __future__ import annotations

from orderflow_assets.calculator_assets import calculator_asset, declarations_asset
from orderflow_assets.calculators.discovery import discover, plugins_folder
from orderflow_assets.resources import default_data_dir

found = discover(plugins_folder(default_data_dir()))

assets = [calculator_asset(item) for item in found.calculators.values()]
declarations = declarations_asset(found)
