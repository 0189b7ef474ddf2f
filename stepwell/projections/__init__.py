"""Read models in SQLite: what is going on, at a glance. Everything here can be deleted and made anew from the log."""
