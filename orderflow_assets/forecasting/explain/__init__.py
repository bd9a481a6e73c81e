"""Why a model forecasts what it forecasts, what it cannot do without, and where it errs."""
