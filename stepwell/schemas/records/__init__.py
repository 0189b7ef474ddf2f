"""What is in the log: commands, events and the other records, and how they become bytes."""
