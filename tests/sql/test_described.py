"""Everything in the schema says in the database itself what it is; docs/sql.md names every table and view."""

import re
from pathlib import Path

from .engine import Engine

PAGE = (Path(__file__).parents[2] / "docs" / "sql.md").read_text()


UNDESCRIBED = """
    select c.relkind as kind, c.oid::regclass::text as name from pg_class c
    where c.relnamespace = 'workflow'::regnamespace and c.relkind in ('r', 'p', 'v', 'S') and not c.relispartition
      and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'i')  -- of an identity column
      and obj_description(c.oid, 'pg_class') is null
    union all
    select 'function', p.oid::regprocedure::text from pg_proc p
    where p.pronamespace = 'workflow'::regnamespace and obj_description(p.oid, 'pg_proc') is null
    union all
    select 'type', t.oid::regtype::text from pg_type t join pg_class c on c.oid = t.typrelid and c.relkind = 'c'
    where t.typnamespace = 'workflow'::regnamespace and obj_description(t.oid, 'pg_type') is null
"""


def test_every_table_view_function_sequence_and_type_is_described(engine: Engine) -> None:
    assert engine.rows(UNDESCRIBED) == []


def test_every_column_of_tables_and_views_is_described(engine: Engine) -> None:
    assert (
        engine.rows(
            "select c.relname, a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid"
            " where c.relnamespace = 'workflow'::regnamespace and c.relkind in ('r', 'p', 'v') and not c.relispartition"
            " and a.attnum > 0 and not a.attisdropped and coalesce(col_description(c.oid, a.attnum), '') = ''"
            " order by 1, 2"
        )
        == []
    )


def test_the_page_names_every_table_and_view_and_no_other(engine: Engine) -> None:
    relations = {
        kind: {
            row["relname"]
            for row in engine.rows(
                "select relname from pg_class where relnamespace = 'workflow'::regnamespace"
                " and relkind = any(%s) and not relispartition",
                kinds,
            )
        }
        for kind, kinds in (("Views", ["v"]), ("Tables", ["r", "p"]))
    }
    for title, expected in relations.items():
        section = re.split(r"^## ", PAGE.split(f"\n## {title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
        rows = [line.split("|")[1 if title == "Views" else 2] for line in section.splitlines() if line.startswith("| ")]
        named = set(re.findall(r"`(\w+)`", " ".join(rows))) - {"procrastinate_jobs"}
        assert named == expected, title
