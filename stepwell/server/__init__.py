"""The HTTP front door: what ``stepwell.Client`` can do, for programs in any language. Needs ``stepwell[server]``."""
