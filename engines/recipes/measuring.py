"""Steps that compare the running application with what it was: its metrics, and what its owner tries by hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from engines.application import metrics
from engines.checks import Check
from engines.expectations import Metric
from engines.incident import Incident
from engines.people import Role
from engines.recipes import used
from engines.recipes.readiness import incident_of
from engines.session.answers import functional_check, name_of
from engines.session.plan import Gate, GateKind, Step
from engines.session.state import SessionState
from engines.session.work import Work
from engines.targets import Target
from engines.text import utc_now

METRICS, FUNCTIONAL = "ask-metrics", "ask-owner"


def wanted(target: Target, incident: Incident | None) -> tuple[Metric, ...]:
    """The configured metrics; one of the same name in the report goes before it."""
    told = {metric.name: metric for metric in (target.prometheus.metrics if target.prometheus else ())}
    return tuple({**told, **{metric.name: metric for metric in (incident.metrics if incident else ())}}.values())


def metrics_step(step_id: str, target: Target, incident: Incident | None) -> Step:
    found = wanted(target, incident)
    server = target.prometheus.url if target.prometheus else "no Prometheus is configured"
    return Step(
        id=step_id,
        title="Compare the metrics",
        action=METRICS,
        shows=tuple(f"{one.name}: {one.url or f'{one.query}  ({server})'}" for one in found) or ("not configured",),
        note="Now, and as they were when the incident began. Wait until what was measured while it was down is past.",
        gates=(Gate(GateKind.CONFIRM, Role.OPERATOR, "Enter runs it."),),
        configured=bool(found),
        optional=True,
    )


def functional_step(step_id: str, target: Target) -> Step:
    names = target.application.functional_checks
    return Step(
        id=step_id,
        title="Ask the application owner",
        action=FUNCTIONAL,
        role=Role.OWNER,
        shows=tuple(f"the application owner tries: {name}" for name in names) or ("not configured",),
        note="Each is answered by name, passed or failed. What is not answered, or failed, blocks sign-off.",
        configured=bool(names),
        optional=True,
    )


def perform(work: Work, target: Target) -> Mapping[str, object]:
    """Carry out one of the two steps."""
    if work.step.action == METRICS:
        found = [work.check(check) for check in _metrics(target, work.state)]
        wrong = [check.name for check in found if check.verdict.blocks]
        told = f"not as it should be: {', '.join(wrong)}" if wrong else f"{len(found)} compared"
        return {"credentials": used.of_prometheus(target), "message": told}
    asked = [work.check(check) for check in _unanswered(target, work.state)]
    names = len(target.application.functional_checks)
    return {"message": f"{len(asked)} of {names} still to be answered" if asked else "all are answered already"}


def _metrics(target: Target, state: SessionState) -> Iterator[Check]:
    incident = incident_of(state)
    began = incident.about.started_at if incident else None
    for metric in wanted(target, incident):
        yield metrics.asked(metric, target.prometheus, began, utc_now())


def _unanswered(target: Target, state: SessionState) -> Iterator[Check]:
    for name in target.application.functional_checks:
        if name_of(name) not in state.answers:
            yield functional_check(name)


def check_again(name: str, target: Target, state: SessionState) -> Check | None:
    """One of the metrics, asked once more; None where it is none. What the owner says is answered, not asked."""
    incident = incident_of(state)
    began = incident.about.started_at if incident else None
    for metric in wanted(target, incident):
        if name == metrics.name_of(metric):
            return metrics.asked(metric, target.prometheus, began, utc_now())
    return None
