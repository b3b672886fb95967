"""In yapf's place, for processes of tests: mmengine formats the config that it writes down, which takes seconds."""


def FormatCode(text: str, **_: object) -> tuple[str, bool]:
    return text, True
