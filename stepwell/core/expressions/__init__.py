"""The expression language, templates and JSON Schema, and the meter that pays for all of it."""
