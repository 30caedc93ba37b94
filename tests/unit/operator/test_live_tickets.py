"""The ticket for a job's newest progress stands in its status, for as long as the job goes on."""

from fovea_api.contract.report import ProgressReport
from fovea_api.v1alpha1 import TrainingJob
from fovea_api.v1alpha1.training_job_status import LiveStatus
from fovea_operator.reconcile.shared.observed import JobObserved
from fovea_operator.reconcile.training.decide import decide_job
from fovea_operator.settings import Settings
from support.observations import after, at, ended, job, observed, running

SETTINGS = Settings(report_url="http://fovea-operator.fovea-system.svc:8080")
REPORT = ProgressReport(step=90)
FIRST = {"url": "http://fovea-operator.fovea-system.svc:8080/v1/progress", "ticket": "first"}


def decided(seen: JobObserved, settings: Settings = SETTINGS) -> TrainingJob:
    return after(seen.job, decide_job(seen, at(80), settings))


def live(of: TrainingJob) -> dict[str, str] | None:
    return of.status.live.dump() if of.status.live else None


def test_a_job_whose_pod_has_reported_says_where_its_progress_can_be_read() -> None:
    silent = decided(observed(job(), running()))
    assert live(silent) is None
    assert live(decided(observed(silent, running(), progress=REPORT, ticket="first"))) == FIRST


def test_where_agents_report_nowhere_nothing_can_be_read() -> None:
    assert live(decided(observed(job(), running(), progress=REPORT, ticket="first"), Settings())) is None


def test_another_pod_or_another_leader_gives_another_ticket_and_until_then_the_old_one_costs_no_write() -> None:
    first = decided(observed(job(), running(), progress=REPORT, ticket="first"))
    restarted = observed(first, running())
    assert decide_job(restarted, at(80), SETTINGS).status == first.status.dump()
    assert live(decided(observed(first, running(), progress=REPORT, ticket="second"))) == FIRST | {"ticket": "second"}


def test_an_ended_job_has_none() -> None:
    first = decided(observed(job(), running(), progress=REPORT, ticket="first"))
    over = decided(observed(first, ended(), progress=REPORT, ticket="first"))
    assert over.status.state is not None
    assert over.status.state.ended
    assert live(over) is None


def test_what_a_ticket_is_for_can_be_read_by_the_client() -> None:
    assert LiveStatus.model_validate(FIRST).dump() == FIRST
