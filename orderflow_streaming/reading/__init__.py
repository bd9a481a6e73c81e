"""From the venues to the journal: sockets, polls, subscriptions, and what was missed."""
