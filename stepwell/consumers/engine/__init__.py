"""The engine: owns partitions and decides their commands."""
