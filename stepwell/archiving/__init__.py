"""What is old and finished leaves: into a file that can be read back, out of the read models, out of the log."""
