"""Filters as people type them: ``label:car score<0.4 meta.camera="12"``.

One grammar, read by ``parse`` and written by ``write``; what ``write`` gives of a filter
reads as ``tree.normal`` of it.

    query      = group { "OR" group }
    group      = factor { ["AND"] factor }
    factor     = ( "NOT" | "-" ) factor | "(" query ")" | term
    term       = "*" | "score" comparison number | name ":" value
               | "meta." key [ ":" type ] comparison value
    comparison = "=" | "!=" | "<" | "<=" | ">" | ">="
               | "in" list | "not in" list | "contains" value | "startswith" value

An empty query is everything. Label and score terms of one group mean the same detection,
``since`` and ``until`` the same window; a group in parentheses has its own.
"""

from __future__ import annotations

from inferences.search.text.fixing import fix
from inferences.search.text.reading import QUERY_MAX_CHARS, parse
from inferences.search.text.scanning import TextQueryError
from inferences.search.text.words import STRING_KEYS, circle_in, moment_in
from inferences.search.text.writing import write

__all__ = [
    "QUERY_MAX_CHARS",
    "STRING_KEYS",
    "TextQueryError",
    "circle_in",
    "fix",
    "moment_in",
    "parse",
    "write",
]
