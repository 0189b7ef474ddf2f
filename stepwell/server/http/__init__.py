"""What all routes have in common: connections, bodies, errors."""
