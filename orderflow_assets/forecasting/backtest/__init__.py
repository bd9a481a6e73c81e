"""Walk-forward backtests of models: errors, intervals, direction, trading after costs, overfitting, grade."""
