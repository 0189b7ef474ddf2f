"""The log in memory, with faults drawn from a seed."""
