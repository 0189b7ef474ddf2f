"""Folding: what the accepted events of a partition add up to."""
