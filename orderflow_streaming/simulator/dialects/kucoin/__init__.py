"""KuCoin as it is simulated."""
