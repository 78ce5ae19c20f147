"""Is a measured value what it should be, and what it was before the incident?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from engines.application.prometheus import Nothing, as_number, averaged, value
from engines.checks import Check, Panel, Verdict
from engines.expectations import Metric
from engines.text import clock, drawable
from engines.watched import Prometheus
from engines.web import NoReplyError, call

_WAIT = "What was measured while it was down may still count: wait for the query's window, then ask again (r)."


def name_of(metric: Metric) -> str:
    return f"metric: {metric.name}"


def asked(metric: Metric, server: Prometheus | None, incident: datetime | None, now: datetime) -> Check:
    """Ask for a metric's value now and before the incident, and judge it.

    `incident`: when it began; None where that is not known. What can't be asked is UNKNOWN.
    """
    if metric.url is not None:
        present = _of_address(metric.url, server.timeout.total_seconds() if server else 10.0)
    elif metric.query is None or server is None:
        present = Nothing("no Prometheus is configured for this target")
    else:
        present = value(server, averaged(metric.query, metric.window), now)
    return judged(metric, present, _before(metric, server, incident), incident)


def _before(metric: Metric, server: Prometheus | None, incident: datetime | None) -> float | Nothing:
    if metric.baseline is not None:
        return metric.baseline
    if metric.query is None or server is None:
        return Nothing("nobody gave its value before the incident")
    if incident is None:
        return Nothing("when the incident began is not known")
    return value(server, averaged(metric.query, metric.window), incident)


def _of_address(url: str, timeout: float) -> float | Nothing:
    try:
        reply = call(url, timeout=timeout)
    except NoReplyError as error:
        return Nothing(str(error))
    if reply.status != 200:
        return Nothing(f"it answered {reply.status}")
    return as_number(reply.body[:64].decode(errors="replace").strip())


def judged(metric: Metric, now: float | Nothing, before: float | Nothing, incident: datetime | None) -> Check:
    """The check, with both values as far as they are known."""
    name = name_of(metric)
    was = None if isinstance(before, Nothing) else before
    told = _told_before(metric, before, incident)
    if isinstance(now, Nothing):
        hint = "See to it that it can be asked, then ask again (r); or look by hand, and override by name."
        return Check(name, Panel.VALIDATION, Verdict.UNKNOWN, f"not known now: {now.why}; {told}", hint, before=was)
    evidence = f"{_number(now)} now; {told}; {', '.join(_wanted(metric)) or 'nothing says what it should be'}"
    wrong = tuple(_wrong(metric, now, was))
    if wrong:
        return Check(
            name, Panel.VALIDATION, Verdict.FAIL, f"{', '.join(wrong)}: {evidence}", _WAIT, before=was, now=now
        )
    if was is None and (metric.max_rise_pct is not None or metric.max_fall_pct is not None):
        hint = "Give `baseline`, or started_at in the report; or compare by hand, and override by name."
        return Check(name, Panel.VALIDATION, Verdict.UNKNOWN, f"can't be compared: {evidence}", hint, now=now)
    if not tuple(_wanted(metric)):
        hint = "Give max, min, max_rise_pct or max_fall_pct, or judge it by eye."
        return Check(name, Panel.VALIDATION, Verdict.WARN, evidence, hint, before=was, now=now)
    return Check(name, Panel.VALIDATION, Verdict.OK, evidence, before=was, now=now)


def _told_before(metric: Metric, before: float | Nothing, incident: datetime | None) -> str:
    if isinstance(before, Nothing):
        return f"before the incident not known: {before.why}"
    when = "as the report says" if metric.baseline is not None or incident is None else f"at {clock(incident)}"
    return f"{_number(before)} before ({when})"


def _wanted(metric: Metric) -> Iterator[str]:
    if metric.max is not None:
        yield f"at most {_number(metric.max)}"
    if metric.min is not None:
        yield f"at least {_number(metric.min)}"
    if metric.max_rise_pct is not None:
        yield f"at most {metric.max_rise_pct:g} % up"
    if metric.max_fall_pct is not None:
        yield f"at most {metric.max_fall_pct:g} % down"


def _wrong(metric: Metric, now: float, before: float | None) -> Iterator[str]:
    if metric.max is not None and now > metric.max:
        yield "too high"
    if metric.min is not None and now < metric.min:
        yield "too low"
    if before is None:
        return
    # Of nothing there is no percentage: whatever is above nothing has risen by more than any.
    if metric.max_rise_pct is not None and now > before + abs(before) * metric.max_rise_pct / 100:
        yield "risen too far"
    if metric.max_fall_pct is not None and now < before - abs(before) * metric.max_fall_pct / 100:
        yield "fallen too far"


def _number(number: float) -> str:
    return drawable(f"{number:.4g}")
