"""Whoever reads the log and acts: engine, worker and its built-in handlers, readers."""
