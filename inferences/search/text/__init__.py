"""The text query language for filters: ``label:car score<0.4 meta.camera="12"``.

``parse`` reads the grammar below and ``write`` writes it: ``parse(write(filter))`` equals
``tree.normal(filter)``.

    query      = group { "OR" group }
    group      = factor { ["AND"] factor }
    factor     = ( "NOT" | "-" ) factor | "(" query ")" | term
    term       = "*" | "score" comparison number | name ":" value
               | "meta." key [ ":" type ] comparison value
    comparison = "=" | "!=" | "<" | "<=" | ">" | ">="
               | "in" list | "not in" list | "contains" value | "startswith" value

An empty query matches everything. The label and score terms of one group are about the same
detection, and ``since`` and ``until`` about the same window. A group in parentheses has its own.
"""

from __future__ import annotations

from inferences.search.filters.moments import moment_in
from inferences.search.filters.scanning import TextQueryError
from inferences.search.text.fixing import fix
from inferences.search.text.reading import QUERY_MAX_CHARS, parse
from inferences.search.text.writing import write

__all__ = [
    "QUERY_MAX_CHARS",
    "TextQueryError",
    "fix",
    "moment_in",
    "parse",
    "write",
]
