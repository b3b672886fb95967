"""Rivals, contests and counts for the commands benchmark and complexity."""
