"""KuCoin as it is collected."""
