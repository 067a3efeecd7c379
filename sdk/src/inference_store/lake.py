"""The lake: exported inferences in Iceberg tables, and SQL over them."""

from __future__ import annotations

from inference_store.binding import blocking
from inference_store.models import LakeQuery, LakeRows, LakeTable
from inference_store.pages import Page, page_of
from inference_store.requests import Call, delete, get, member_or, one, post


@blocking
def list_lake_tables(project_id: str | None = None) -> Call[Page[LakeTable]]:
    """Return the tables of the lake, with their columns and sizes.

    Parameters:
        project_id: only the tables of this project.

    Returns:
        The tables as a list, ordered by name.

    Raises:
        ValidationError: there is no such project.
        InferenceStoreError: any other failure.
    """
    parameters = {} if project_id is None else {"project_id": project_id}
    return get("lake", "tables", read=page_of(LakeTable), parameters=parameters)


@blocking
def drop_lake_table(name: str) -> Call[str | None]:
    """Delete a table that stayed when its schedule was deleted, with its files.

    Parameters:
        name: the table as ``list_lake_tables`` names it, ``namespace.name``.

    Returns:
        The name; None if there is no such table.

    Raises:
        Conflict: ``lake-table-in-use``, a schedule writes it.
        InferenceStoreError: any other failure.
    """
    return delete(
        "lake", "tables", name, read=member_or("name", name), may_be_absent=True
    )


@blocking
def query_lake(request_body: LakeQuery) -> Call[LakeRows]:
    """Return the rows of one SELECT over tables of the lake.

    Parameters:
        request_body: the statement, and how many rows to return at most.

    Returns:
        The columns and rows.

    Raises:
        ValidationError: the statement is not one SELECT, or names what is not there.
        InferenceStoreError: any other failure, such as ``query-too-expensive``.
    """
    return post("lake", "sql", body=request_body, read=one(LakeRows), may_repeat=True)
