"""What several venues say together: order flow, leverage, cross-exchange prices, alpha, and the market of a window."""
