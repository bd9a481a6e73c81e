"""From frames to rows: projection, derived columns, duplicates, gaps, the stored ledger."""
