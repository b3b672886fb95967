"""The one exception for wrong input: the tools print its line and exit with status 2."""


class InputError(ValueError):
    """What a person gave cannot be used. The message says: expected, got, how to fix."""
