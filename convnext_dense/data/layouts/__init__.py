"""Readers of annotated pictures as the tools write them, one a file; `recognise` finds the one that fits a folder."""
