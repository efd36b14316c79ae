"""Rephrases the errors of the command line parser for users.  Pure."""

from collections.abc import Mapping

from cyclopts import CoercionError, CycloptsError, MissingArgumentError, Token, UnusedCliTokensError

__all__ = ["mistake_text"]

KINDS: Mapping[object, str] = {float: "number", int: "whole number"}
"""Names for the types of values."""


def mistake_text(error: CycloptsError) -> str:
    """Describe the error in one line."""
    match error:
        case UnusedCliTokensError():
            return f"Unexpected argument: {' '.join(error.unused_tokens or ())}"
        case MissingArgumentError() if error.keyword is not None:
            return f"{error.keyword} needs a value"
        case MissingArgumentError() if error.argument is not None:
            return f"{error.argument.name.upper()} is missing"
        case CoercionError(token=Token() as token) if token.keyword is not None and error.target_type in KINDS:
            return f'Invalid value "{token.value}" for {token.keyword}: it is not a {KINDS[error.target_type]}'
        case CoercionError(msg=str() as said, token=Token(keyword=None)) if error.argument is not None:
            return f"Invalid value for {error.argument.name.upper()}: {said}"
        case _:
            text = " ".join(str(error).split())
            # A truncated list keeps its dots.
            return text if text.endswith("...") else text.removesuffix(".")
