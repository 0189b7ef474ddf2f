"""A definition made ready to run: checked whole, its graph laid out, its expressions compiled."""
