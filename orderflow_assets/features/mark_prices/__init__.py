"""Mark against index price: basis, its history, its pull back, and what it implies for funding."""
