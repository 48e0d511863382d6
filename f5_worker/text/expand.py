"""Placeholder until the rules are in."""


def expansions(text: str, language: str) -> list[tuple[int, int, str]]:
    return []
