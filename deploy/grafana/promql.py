"""What our queries have in common. Each is narrowed to the dashboard's namespace when its panel is made."""

from __future__ import annotations

import re

_METRIC = re.compile(r"\b((?:workflow|http|process|kube|container)_\w+|up)\b(?:\{([^}]*)\})?")


def scoped(expression: str) -> str:
    """The expression with every metric narrowed to the namespace that the dashboard shows.

    All namespaces are `.*`, which is also true of series without that label, such as those of a compose stack.
    """

    def narrowed(match: re.Match[str]) -> str:
        matchers = ", ".join(filter(None, [match[2], 'namespace=~"$namespace"']))
        return f"{match[1]}{{{matchers}}}"

    return _METRIC.sub(narrowed, expression)


def quantile(percent: int, histogram: str, matchers: str = "", *, by: str = "", over: str = "$__rate_interval") -> str:
    """PromQL of one quantile of a histogram."""
    selector = f"{histogram}_bucket{{{matchers}}}" if matchers else f"{histogram}_bucket"
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({percent / 100:g}, sum by ({labels}) (rate({selector}[{over}])))"


def per_minute(selector: str, by: str = "") -> str:
    """PromQL of how often a counter is counted in a minute."""
    return f"{_sum(by)} (rate({selector}[$__rate_interval])) * 60"


def above_zero(expression: str, label: str) -> str:
    """PromQL of those series that are not 0, of which there may be many; `none` if all are."""
    return f'{expression} > 0 or on () label_replace(vector(0), "{label}", "none", "", "")'


def in_range(selector: str, by: str = "") -> str:
    """PromQL of how often a counter was counted in the time range that is looked at."""
    return f"{_sum(by)} (increase({selector}[$__range]))"


def _sum(by: str) -> str:
    return f"sum by ({by})" if by else "sum"
