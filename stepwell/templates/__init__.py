"""The templates that come with Stepwell, and handlers for those of them that need no agents."""
