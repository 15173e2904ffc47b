"""A diagram of the tables and what refers to what, for Mermaid, which GitHub and GitLab draw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fltr_project.catalog.facts import plain_columns

from .tables import Table

_TYPES = {"timestamp without time zone": "timestamp", "double precision": "double"}


def diagram(tables: Sequence[Table], title: str) -> str:
    """The text of the diagram. Pure."""
    lines = [f"%% {title}", "erDiagram"]
    for table in tables:
        for key in table.references:
            optional = any(each.nullable for each in table.columns if each.name in key.columns)
            one = "|o" if optional else "||"
            many = "o|" if key.columns == table.primary else "o{"
            columns = ", ".join(key.columns)
            lines.append(f'    {key.target} {one}--{many} {table.name} : "{columns}"')
    for table in tables:
        lines += [f"    {table.name} {{", *_columns(table), "    }"]
    return "\n".join((*lines, ""))


def _columns(table: Table) -> Iterator[str]:
    unique = {plain_columns(key.definition) for key in table.keys}
    for column in table.columns:
        marks = [
            mark
            for mark, is_so in (
                ("PK", column.name in table.primary),
                ("FK", table.reference(column.name) is not None),
                ("UK", (column.name,) in unique),
            )
            if is_so
        ]
        type_ = _TYPES.get(column.type, column.type).replace(" ", "_")
        yield f"        {type_} {column.name} {', '.join(marks)}".rstrip()
