"""The worker: runs the handlers of steps."""
