"""The log port and its implementations."""
