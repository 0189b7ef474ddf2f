"""Deciding: what a command, or the time, leads to."""
