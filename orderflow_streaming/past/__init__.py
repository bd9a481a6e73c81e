"""What was missed or came before: refills, backfills and the requests they make."""
