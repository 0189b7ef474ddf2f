"""What is on the wire and on disk: definitions, commands, events, their versions and upcasters."""
