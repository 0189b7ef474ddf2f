"""Documents of older versions of a dialect, brought to newer ones."""
