"""With keys: what the audit log says of what was asked, and of whom."""

from __future__ import annotations

import httpx
import pytest
from support.eventually import eventually

from workflow_engine.api import audit_log

from .keyed import NOBODY, ONE_STEP, WORKFLOWS, Keyed


def test_what_changes_something_is_in_the_audit_log_before_it_is_answered(keyed: Keyed) -> None:
    ann = keyed.key("audited", "admin")
    request_id = "audit-me-1"
    started = keyed.api.post(
        f"{WORKFLOWS}?pretty", json={"name": "told", "steps": ONE_STEP}, headers={**ann, "X-Request-Id": request_id}
    )
    (row,) = keyed.audit(request_id=request_id)
    wanted = {
        "principal": "audited", "key_id": keyed.ids["audited"], "address": "127.0.0.1", "method": "POST",
        "path": f"{WORKFLOWS}?pretty", "operation": "workflows_create", "status": 202, "times": 1,
    }  # fmt: skip
    assert {name: row[name] for name in wanted} == wanted
    assert str(row["workflow_id"]) == started.json()["id"]
    keyed.api.post(f"{WORKFLOWS}/{NOBODY}/cancel", headers=ann)
    keyed.api.post(WORKFLOWS, content=b"{", headers=ann)
    keyed.api.get(WORKFLOWS, headers=ann)
    keyed.api.post("/api/v1/definitions/validate", json={}, headers=ann)
    told = [(row["operation"], row["status"]) for row in keyed.audit(principal="audited")]
    assert told == [("workflows_create", 415), ("workflows_cancel", 404), ("workflows_create", 202)]


def test_what_was_done_to_many_workflows_is_found_with_each_of_them(keyed: Keyed) -> None:
    ann = keyed.key("sweeping", "admin")
    ids = [keyed.api.post(WORKFLOWS, json={"name": "swept", "steps": ONE_STEP}, headers=ann).json()["id"] for _ in "ab"]
    keyed.api.post(f"{WORKFLOWS}/{ids[0]}/cancel", headers=ann)
    many = {"ids": [*ids, NOBODY]}
    keyed.api.post(f"{WORKFLOWS}/bulk/cancel?dry_run=true", json=many, headers=ann)
    keyed.api.post(f"{WORKFLOWS}/bulk/cancel", json={**many, "reason": "swept away"}, headers=ann)
    rows = keyed.audit(principal="sweeping", operation="workflows_cancel_many")
    assert sorted(str(row["workflow_id"]) for row in rows) == sorted(
        ["None", "None", ids[1]]
    )  # two requests, one change
    found = keyed.api.get(f"/api/v1/audit?operation=workflows_cancel*&workflow_id={ids[1]}", headers=ann).json()
    assert [(row["principal"], row["operation"], row["reason"]) for row in found] == [
        ("sweeping", "workflows_cancel_many", "swept away")
    ]
    error = keyed.api.get(f"{WORKFLOWS}/{ids[1]}", headers=ann).json()["error"]
    assert (error["message"], error["details"]) == ("swept away", {"by": "sweeping"})


def test_who_paused_it_and_why_is_told_to_whoever_finds_it_paused(keyed: Keyed) -> None:
    ann = keyed.key("pausing", "admin")
    workflow = keyed.api.post(WORKFLOWS, json={"name": "held", "steps": ONE_STEP}, headers=ann).json()["links"]["self"]
    reason = {"reason": "new release"}
    for path in ("/api/v1/pause", f"{workflow}/pause"):
        paused = keyed.api.post(path, json=reason, headers=ann).json()
        assert (paused["by"], paused["reason"]) == ("pausing", "new release")
    shown = keyed.api.get(workflow, headers=ann).json()
    assert (shown["paused_by"], shown["paused_reason"]) == ("pausing", "new release")
    assert [row["reason"] for row in keyed.audit(principal="pausing")] == ["new release", "new release", None]
    for path in ("/api/v1/resume", f"{workflow}/resume"):
        resumed = keyed.api.post(path, headers=ann).json()
        assert (resumed["paused"], resumed["by"], resumed["reason"]) == (False, None, None)
    assert keyed.api.get(workflow, headers=ann).json()["paused_reason"] is None
    for path in ("/api/v1/pause", f"{workflow}/pause"):
        assert keyed.api.post(path, json={"reason": "x" * 501}, headers=ann).status_code == 422
        assert keyed.api.post(path, json={"because": "x"}, headers=ann).status_code == 422


def test_each_start_has_one_row_whatever_came_of_it(keyed: Keyed) -> None:
    ann = keyed.key("starting", "admin")
    body = {"name": "told", "steps": ONE_STEP}
    again = {**ann, "Idempotency-Key": "told-1"}
    started = [keyed.api.post(WORKFLOWS, json=body, headers=again).json()["id"] for _ in range(2)]
    keyed.api.post(f"{WORKFLOWS}?wait=0.1", json=body, headers=ann)
    keyed.api.post(WORKFLOWS, json={"name": "nobody-knows-it"}, headers=ann)
    rows = keyed.audit(principal="starting")
    assert [row["status"] for row in rows] == [404, 202, 202, 202]
    assert [str(row["workflow_id"]) for row in rows[2:]] == started


def test_the_audit_log_is_read_in_pages_and_by_what_one_looks_for(
    keyed: Keyed, roles: dict[str, dict[str, str]]
) -> None:
    mia = keyed.key("mia", "operator")
    for number in range(3):
        keyed.api.post(f"{WORKFLOWS}/{NOBODY[:-1]}{number}/cancel", headers=mia)
    keyed.api.post("/api/v1/resume", headers=mia)

    def read(query: str) -> httpx.Response:
        return keyed.api.get(f"/api/v1/audit?{query}", headers=roles["admin"])

    page = read("principal=mia&limit=3")
    assert [row["operation"] for row in page.json()] == ["engine_resume", "workflows_cancel", "workflows_cancel"]
    following = keyed.api.get(page.headers["link"].split(";")[0].strip("<>"), headers=roles["admin"])
    assert [row["path"] for row in following.json()] == [f"{WORKFLOWS}/{NOBODY[:-1]}0/cancel"]
    assert "link" not in following.headers
    assert len(read("principal=mia&operation=workflows_cancel&status=404&since=1h").json()) == 3
    assert len(read(f"principal=mia&workflow_id={NOBODY[:-1]}1").json()) == 1
    assert read("principal=mia&until=1h").json() == []
    assert read("status=99").status_code == read("state=1").status_code == 422


def test_keys_in_urls_are_hidden_in_the_audit_log(keyed: Keyed) -> None:
    key = keyed.key("leaky", "viewer")["Authorization"].removeprefix("Bearer ")
    keyed.api.post(f"{WORKFLOWS}?leak&token={key}")
    (row,) = [row for row in keyed.audit(status=401) if "leak" in row["path"]] or [None]
    assert row is None or key not in row["path"]
    assert keyed.value("select count(*) from workflow.audit where position(%s in path) > 0", key[20:]) == 0


def test_who_is_refused_again_and_again_does_not_fill_the_audit_log(
    keyed: Keyed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_log, "WINDOW_SECONDS", 1.0)
    eve = keyed.key("eve", "viewer")
    for _ in range(50):
        assert keyed.api.post("/api/v1/pause", headers=eve).status_code == 403
    eventually(lambda: sum(row["times"] for row in keyed.audit(principal="eve", status=403)) == 50)
    assert len(keyed.audit(principal="eve", status=403)) < 10


def test_what_could_not_be_written_is_written_later(keyed: Keyed, roles: dict[str, dict[str, str]]) -> None:
    keyed.database.execute("alter function workflow.add_audit(jsonb) rename to hidden")
    try:
        assert keyed.api.post("/api/v1/resume", headers={**roles["admin"], "X-Request-Id": "late"}).status_code == 200
        assert keyed.audit(request_id="late") == []
    finally:
        keyed.database.execute("alter function workflow.hidden(jsonb) rename to add_audit")
    eventually(lambda: [row["status"] for row in keyed.audit(request_id="late")] == [200])


def test_who_changed_a_task_type_is_kept_with_the_change(keyed: Keyed, roles: dict[str, dict[str, str]]) -> None:
    path = "/api/v1/task-types/switch"
    changed = keyed.api.patch(path, json={"timeout": 300}, headers=roles["operator"]).raise_for_status()
    (change,) = keyed.api.get(f"{path}/changes", headers=roles["viewer"]).json()
    assert change == {
        "at": changed.json()["updated_at"],
        "by": "a-operator",
        "changes": {"timeout": {"before": None, "after": 300.0}},
    }
    late = keyed.api.patch(path, json={"timeout": 1}, headers={**roles["admin"], "If-Match": '"1"'})
    assert "a-operator set timeout to 300 s" in late.json()["detail"]
    keyed.api.patch(path, json={"timeout": None}, headers=roles["admin"]).raise_for_status()
