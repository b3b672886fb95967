"""What the papers describe, readable as they are."""
