"""In yapf's place, for processes of tests: mmengine formats the config that it writes down, which takes seconds of every run."""


def FormatCode(text: str, **_: object) -> tuple[str, bool]:
    return text, True
