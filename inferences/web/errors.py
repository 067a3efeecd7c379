"""Turn errors of the store into sentences for people."""

from __future__ import annotations

from istore.errors import Invalid, StoreError


def sentence(error: StoreError) -> str:
    """Return an error as text, such as ``boxes 2 xmin: A finite number is expected.``"""
    if isinstance(error, Invalid):
        return "; ".join(
            f"{' '.join(each.path)}: {each.message}" if each.path else each.message
            for each in error.errors
        )
    return str(error) or "It is not there any more."
