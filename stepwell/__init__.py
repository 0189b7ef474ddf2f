"""Stepwell: an event-sourced workflow engine over a message log."""

__version__ = "0.1.0"
