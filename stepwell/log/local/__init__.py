"""The log in one local file."""
