"""What happens, told to others: the feed and webhooks."""
