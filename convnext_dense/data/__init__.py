"""Data sets: what they hold, what is wrong with them, and the embedded toy set."""
