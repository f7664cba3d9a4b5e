"""Secrets come from the environment and from files, by name."""

from pathlib import Path

from workflow_engine.secrets import Secrets


def test_secrets_come_from_the_environment_and_from_files(tmp_path: Path) -> None:
    (tmp_path / "DB_PASSWORD").write_text("from a file\n")
    (tmp_path / "BOTH").write_text("from a file")
    (tmp_path / "..data").mkdir()
    (tmp_path / "no-name").write_text("x")
    secrets = Secrets(
        {"WORKFLOW_SECRET_API_KEY": "abc", "WORKFLOW_SECRET_BOTH": "first", "PATH": "/bin"}, str(tmp_path)
    )
    assert secrets.names() == {"API_KEY", "BOTH", "DB_PASSWORD"}
    assert [secrets.get(name) for name in ("API_KEY", "BOTH", "DB_PASSWORD")] == ["abc", "first", "from a file"]


def test_what_is_no_secret_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "other").write_text("x")
    (tmp_path / "secrets" / "BINARY").write_bytes(b"\xff")
    (tmp_path / "secrets" / "LARGE").write_bytes(b"x" * 70_000)
    secrets = Secrets({"PATH": "/bin"}, str(tmp_path / "secrets"))
    assert [secrets.get(name) for name in ("PATH", "../other", "MISSING", "BINARY", "LARGE")] == [None] * 5


def test_a_rotated_file_counts_at_once_and_a_missing_directory_is_empty(tmp_path: Path) -> None:
    (tmp_path / "KEY").write_text("old")
    secrets = Secrets({}, str(tmp_path))
    assert secrets.get("KEY") == "old"
    (tmp_path / "KEY").write_text("new")
    assert secrets.get("KEY") == "new"
    assert Secrets({}, str(tmp_path / "none")).names() == frozenset()


def test_values_are_not_shown() -> None:
    assert "abc" not in repr(Secrets({"WORKFLOW_SECRET_API_KEY": "abc"}))
