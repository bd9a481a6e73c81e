"""How the collection is doing: figures, conditions, alerts, metrics."""
