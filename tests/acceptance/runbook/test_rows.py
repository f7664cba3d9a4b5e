"""Each row of the runbook has a test here, or a place where it will be checked and the reason why not here."""

import re
from pathlib import Path

FIRST_TO_LAST = {"A": 4, "B": 8, "C": 6, "D": 7, "E": 5, "F": 6, "G": 4, "H": 5, "I": 4, "J": 3, "K": 4, "L": 1,
                 "M": 4, "N": 6, "O": 3, "P": 2, "Q": 3}  # fmt: skip

MANIFESTS = "the rendered manifests, in the tests of deploy/"
RULES = "the shipped rules and dashboards, with promtool, in the tests of deploy/"
IMAGES = "the images and compose file, where containers can run"
DASHBOARD = "the tests of the dashboard"

ELSEWHERE = {
    "A02": ("a namespace is a matter of manifests", MANIFESTS),
    "G03": ("an HPA needs a cluster that measures CPU", MANIFESTS),
    "G04": ("a ScaledObject needs KEDA; the list it reads is B02", MANIFESTS),
    "J01": ("docker compose needs containers", IMAGES),
    "M01": ("a threshold line and an alert; the gauge is N06", RULES),
    "M02": ("CPU is measured by the cluster", RULES),
    "M03": ("a recording rule", RULES),
    "N01": ("alerts and a route to PagerDuty", RULES),
    "N02": ("alerts and a route to Slack", RULES),
    "N03": ("rules word for word", RULES),
    "N04": ("an annotation of a rule", RULES),
    "O01": ("dashboards of Grafana", RULES),
    "O02": ("Flower's place is taken by /admin/workers", DASHBOARD),
    "Q01": ("buttons of the dashboard; what they do is B05, D04 and I04", DASHBOARD),
}
"""Why not here, and where. Of B04, E01, E04, H03, K01 and K02 the tests here show what processes do; that manifests
have those names, labels and limits is checked there too."""


def test_every_row_has_a_test_here_or_a_reason_and_a_place() -> None:
    rows = {f"{letter}{number:02}" for letter, last in FIRST_TO_LAST.items() for number in range(1, last + 1)}
    sources = [path.read_text() for path in Path(__file__).parent.glob("test_*.py")]
    tested = {row.upper() for source in sources for row in re.findall(r"^def test_([a-q]\d\d)_", source, re.MULTILINE)}
    assert tested | ELSEWHERE.keys() == rows
    assert not tested & ELSEWHERE.keys()
