"""Formats of times in the administration: sortable as text, to the second, as an audit needs."""

DATE_FORMAT = "Y-m-d"
DATETIME_FORMAT = "Y-m-d H:i:s"
