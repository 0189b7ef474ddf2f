"""Reading the log: what counts, what it adds up to, and who lives on it."""
