"""The registered definitions."""
