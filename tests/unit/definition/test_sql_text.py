"""SQL texts are counted without a database."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_engine.definition.sql_text import count_statements


@pytest.mark.parametrize(
    ("sql", "statements"),
    [
        ("select 1", 1),
        ("select 1;", 1),
        ("select 1; -- done\n ;; /* really */", 1),
        ("select 1; select 2", 2),
        ("select 1; drop table x;", 2),
        ("select ';'", 1),
        ("select 'it''s;'", 1),
        ("select E'a\\';b'", 1),
        ("select 'a\\'; select 'b'", 2),
        ('select ";"', 1),
        ("select $$a;b$$", 1),
        ("select $x$a;$$;b$x$; select 2", 2),
        ("select a$b$c; select d$b$", 2),
        ("select $1; select $2", 2),
        ("/* a; /* nested; */ ; */ select 1", 1),
        ("-- a;\nselect 1", 1),
        ("select 1 -- a\n; select 2", 2),
        ("", 0),
        ("  \n", 0),
        ("-- nothing;", 0),
        (";;", 0),
        ("do $$ begin; end $$", 1),
    ],
)
def test_statements_are_counted_as_postgres_would(sql: str, statements: int) -> None:
    assert count_statements(sql) == statements


chunks = st.one_of(
    st.text(alphabet=";ab \n/*-").map(lambda text: f"'{text}'"),
    st.text(alphabet=";ab \n/*-").map(lambda text: f'"{text}"'),
    st.text(alphabet=";ab \n/*-'").map(lambda text: f"$q${text}$q$"),
    st.text(alphabet=";ab -'").map(lambda text: f"--{text}\n"),
    st.text(alphabet=";ab -'").map(lambda text: f"/*{text}*/"),
)


@given(st.lists(chunks, max_size=6))
def test_semicolons_inside_quotes_and_comments_end_nothing(parts: list[str]) -> None:
    assert count_statements(" ".join(["select", *parts])) == 1
    assert count_statements(" ".join(["select", *parts, "; select 2"])) == 2
