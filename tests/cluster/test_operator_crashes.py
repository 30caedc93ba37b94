"""The operator dies: whatever the moment, the same final state; what happened meanwhile is noticed."""

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from support.jobs import condition, of_job, pod_name, training_job
from support.kube_apiserver import Cluster
from support.kubelet_player import Kubelet
from support.operator_process import OperatorProcess

Start = Callable[..., OperatorProcess]


def pod_of(cluster: Cluster, name: str) -> dict[str, Any]:
    found = cluster.get("Pod", name)
    assert found is not None
    return found


def test_ten_kills_at_random_moments_end_in_the_same_final_state(
    cluster: Cluster, kubelet: Kubelet, start_operator: Start, seed: int
) -> None:
    rng = random.Random(seed)
    first, second = pod_name("digits", 0), pod_name("digits", 1)
    life: list[tuple[str, Callable[[], object]]] = [
        ("", lambda: cluster.create(training_job("digits", model={"name": "digits", "deploy": True}))),
        (first, lambda: kubelet.running(first)),
        (first, lambda: kubelet.ended(first, 137)),
        (second, lambda: kubelet.running(second)),
        (second, lambda: kubelet.succeeded(second)),
    ]
    for number, (pod, step) in enumerate(life):
        # A container that restarts in its pod keeps its name and leads at once; a new pod waits for the Lease's end.
        fresh = number % 2 == 1
        name = f"heir-{number}" if fresh else "the-one"
        operator = start_operator(IDENTITY=name, LEASE_SECONDS="6")
        if pod:
            cluster.wait(f"pod {pod}", lambda pod=pod: cluster.get("Pod", pod))
        else:
            operator.wait_ready()
        step()
        time.sleep(rng.uniform(0, 0.25))  # a random moment after the step
        operator.kill()
        operator = start_operator(IDENTITY=f"{name}-again" if fresh else name, LEASE_SECONDS="6")
        time.sleep(rng.uniform(0, 8.5 if fresh else 2.5))  # a random moment of its wait and its start
        operator.kill()
    start_operator(IDENTITY="the-last")
    job = cluster.job_in("digits", "SUCCEEDED", seconds=60)
    cluster.wait("the ModelDeployment", lambda: cluster.get("ModelDeployment", "digits"))
    assert job["status"]["attempts"] == {"chief-0": 1}
    assert job["status"]["retries"] == 1
    assert job["status"]["modelVersion"] == "digits-v1"
    assert sorted(pod["metadata"]["name"] for pod in cluster.list("Pod", of_job("digits"))) == [first, second]
    assert [version["metadata"]["name"] for version in cluster.list("ModelVersion")] == ["digits-v1"]
    assert [deployment["metadata"]["name"] for deployment in cluster.list("ModelDeployment")] == ["digits"]


def test_a_pod_that_vanished_while_the_operator_was_down_is_replaced(
    cluster: Cluster, kubelet: Kubelet, start_operator: Start
) -> None:
    operator = start_operator(IDENTITY="the-one").wait_ready()
    cluster.create(training_job())
    first = pod_name("digits")
    cluster.wait("the pod", lambda: cluster.get("Pod", first))
    kubelet.running(first)
    cluster.job_in("digits", "RUNNING")
    operator.kill()
    kubelet.vanish(first)
    start_operator(IDENTITY="the-one")
    second = pod_name("digits", 1)
    cluster.wait("the pod of the next attempt", lambda: cluster.get("Pod", second))
    kubelet.running(second)
    kubelet.succeeded(second)
    done = cluster.job_in("digits", "SUCCEEDED")
    assert done["status"]["disruptions"] == 1


def test_what_ended_while_the_operator_was_down_is_noticed(
    cluster: Cluster, kubelet: Kubelet, start_operator: Start
) -> None:
    operator = start_operator(IDENTITY="the-one").wait_ready()
    cluster.create(training_job())
    pod = pod_name("digits")
    cluster.wait("the pod", lambda: cluster.get("Pod", pod))
    operator.kill()
    kubelet.running(pod)
    kubelet.succeeded(pod)
    cluster.create(training_job("second"))
    start_operator(IDENTITY="the-one")
    cluster.job_in("digits", "SUCCEEDED")
    cluster.wait("the pod of the job submitted meanwhile", lambda: cluster.get("Pod", pod_name("second")))


def test_a_job_s_time_ends_while_no_operator_leads(cluster: Cluster, kubelet: Kubelet, start_operator: Start) -> None:
    operator = start_operator(IDENTITY="the-one").wait_ready()
    cluster.create(training_job(runPolicy={"maxRunningSeconds": 10}))
    pod = pod_name("digits")
    cluster.wait("the pod", lambda: cluster.get("Pod", pod))
    kubelet.bind(pod)
    kubelet.preparing(pod)
    assert "activeDeadlineSeconds" not in pod_of(cluster, pod)["spec"], "the time before the program does not count"
    kubelet.running(pod)
    cluster.wait("its deadline", lambda: pod_of(cluster, pod)["spec"].get("activeDeadlineSeconds"))
    cluster.job_in("digits", "RUNNING")
    operator.kill()
    cluster.wait("the kubelet ends the pod", lambda: kubelet.stop_at_deadline(pod), seconds=30)
    assert pod_of(cluster, pod)["metadata"]["generation"] == 2, "it is told once"
    start_operator(IDENTITY="the-one")
    job = cluster.job_in("digits", "FAILED")
    assert condition(job, "Failed")["reason"] == "MaxRunningSecondsExceeded"
    assert (job["status"]["attempts"], job["status"].get("retries")) == ({"chief-0": 0}, None)
    assert 10 <= job["status"]["runningSeconds"] <= 13
    assert [each["metadata"]["name"] for each in cluster.list("Pod")] == [pod]


def test_a_job_that_waited_too_long_while_no_operator_led_is_cancelled_by_the_next(
    cluster: Cluster, kubelet: Kubelet, start_operator: Start
) -> None:
    operator = start_operator(IDENTITY="the-one").wait_ready()
    cluster.create(training_job(runPolicy={"maxWaitSeconds": 5}))
    pod = pod_name("digits")
    cluster.wait("the pod", lambda: cluster.get("Pod", pod))
    kubelet.unschedulable(pod, "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.")
    operator.kill()
    created = datetime.fromisoformat(pod_of(cluster, pod)["metadata"]["creationTimestamp"])
    over = created + timedelta(seconds=6)
    cluster.wait("its time is over", lambda: datetime.now(UTC) > over, seconds=30)
    waits = cluster.get("TrainingJob", "digits")
    assert waits is not None
    assert not condition(waits, "Failed"), "nobody but an operator ends it"
    start_operator(IDENTITY="the-one")
    cancelled = cluster.job_in("digits", "CANCELLED")
    assert condition(cancelled, "Failed")["reason"] == "MaxWaitSecondsExceeded"


def test_a_job_deleted_while_the_operator_was_down_leaves_no_pod(
    cluster: Cluster, kubelet: Kubelet, start_operator: Start
) -> None:
    operator = start_operator(IDENTITY="the-one").wait_ready()
    cluster.create(training_job())
    pod = pod_name("digits")
    cluster.wait("the pod", lambda: cluster.get("Pod", pod))
    kubelet.bind(pod)
    kubelet.running(pod)
    operator.kill()
    cluster.delete("TrainingJob", "digits")
    start_operator(IDENTITY="the-one")
    cluster.wait("the pod is being deleted", kubelet.finish_deletions)


def test_sigterm_ends_the_operator_with_0_and_gives_the_lease_back(cluster: Cluster, start_operator: Start) -> None:
    operator = start_operator().wait_ready()
    assert operator.stop() == 0
    lease = cluster.get("Lease", "fovea-operator")
    assert lease is not None
    assert lease["spec"]["holderIdentity"] == ""


def test_a_standby_waits_unready_and_takes_over_when_the_leader_is_killed(
    cluster: Cluster, kubelet: Kubelet, start_operator: Start
) -> None:
    leader = start_operator().wait_ready()
    standby = start_operator()
    cluster.wait("the standby answers", lambda: standby.probe("/healthz") == 200)
    assert standby.probe("/readyz") == 503
    cluster.create(training_job())
    cluster.wait("the leader's pod", lambda: cluster.get("Pod", pod_name("digits")))
    leader.kill()
    cluster.create(training_job("second"))
    standby.wait_ready()
    cluster.wait("the new leader's pod", lambda: cluster.get("Pod", pod_name("second")))
    kubelet.running(pod_name("digits"))
    kubelet.succeeded(pod_name("digits"))
    cluster.job_in("digits", "SUCCEEDED")
    assert len(cluster.list("Pod")) == 2


def test_a_leader_that_stood_still_past_its_lease_ends_and_doubles_nothing(
    cluster: Cluster, kubelet: Kubelet, start_operator: Start, seed: int
) -> None:
    rng = random.Random(seed)
    first, second = pod_name("digits", 0), pod_name("digits", 1)
    leader = start_operator(LEASE_SECONDS="6").wait_ready()
    standby = start_operator(LEASE_SECONDS="6")
    cluster.wait("the standby answers", lambda: standby.probe("/healthz") == 200)
    cluster.create(training_job("digits", model={"name": "digits", "deploy": True}))
    cluster.wait("the leader's pod", lambda: cluster.get("Pod", first))
    kubelet.running(first)
    cluster.job_in("digits", "RUNNING")
    leader.pause()
    # What the old leader will find in its watches when it goes on: a failure, and a job of which it knows nothing.
    kubelet.ended(first, 137)
    cluster.create(training_job("other"))
    assert leader.is_running()
    standby.wait_ready()
    time.sleep(rng.uniform(0, 1))  # a random moment of the new leader's first work
    leader.resume()
    cluster.wait("the old leader ended", lambda: not leader.is_running())
    assert leader.stop() == 1
    cluster.wait("the pod of the next attempt", lambda: cluster.get("Pod", second))
    kubelet.running(second)
    kubelet.succeeded(second)
    cluster.wait("the other job's pod", lambda: cluster.get("Pod", pod_name("other")))
    kubelet.running(pod_name("other"))
    kubelet.succeeded(pod_name("other"))
    done, other = cluster.job_in("digits", "SUCCEEDED"), cluster.job_in("other", "SUCCEEDED")
    assert standby.is_running()
    assert (done["status"]["attempts"], done["status"]["retries"]) == ({"chief-0": 1}, 1)
    assert other["status"].get("retries", 0) == 0
    assert sorted(pod["metadata"]["name"] for pod in cluster.list("Pod")) == [first, second, pod_name("other")]
    assert [version["metadata"]["name"] for version in cluster.list("ModelVersion")] == ["digits-v1"]
    lease = cluster.get("Lease", "fovea-operator")
    assert lease is not None
    assert lease["spec"]["leaseTransitions"] == 1


def test_a_leader_that_loses_the_lease_ends(cluster: Cluster, start_operator: Start) -> None:
    leader = start_operator().wait_ready()
    cluster.patch("Lease", "fovea-operator", {"spec": {"holderIdentity": "a usurper"}})
    cluster.wait("the old leader ended", lambda: not leader.is_running())
    assert leader.stop() == 1
    lease = cluster.get("Lease", "fovea-operator")
    assert lease is not None
    assert lease["spec"]["holderIdentity"] == "a usurper"


def test_an_api_server_that_was_away_is_found_again(cluster: Cluster, kubelet: Kubelet, start_operator: Start) -> None:
    operator = start_operator(LEASE_SECONDS="120").wait_ready()
    cluster.create(training_job())
    pod = pod_name("digits")
    cluster.wait("the pod", lambda: cluster.get("Pod", pod))
    cluster.server.stop_api_server()
    cluster.server.start_api_server()
    kubelet.running(pod)
    kubelet.succeeded(pod)
    cluster.create(training_job("second"))
    cluster.job_in("digits", "SUCCEEDED", seconds=60)
    cluster.wait("the pod of the next job", lambda: cluster.get("Pod", pod_name("second")), seconds=60)
    assert operator.is_running()
