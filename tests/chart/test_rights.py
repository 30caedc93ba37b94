"""Rights: the operator may what its code does and nothing beyond; users get our kinds with Kubernetes' own roles."""

from typing import Any

import pytest
from fovea.sdk import live
from fovea_api.contract import labels, names
from fovea_api.contract.report import PROGRESS_PATH
from fovea_api.v1alpha1 import KINDS
from fovea_operator.cluster import resources
from fovea_operator.cluster.cache import Cache
from support import helm, operator_access
from support.operator_access import Access

Rules = list[dict[str, Any]]
OPERATOR = "fovea-operator"
NAMESPACE_KEYS = "fovea-namespace-keys"


def flat(rules: Rules) -> set[tuple[Access, str]]:
    """Each right with the name it is bound to ("" for any)."""
    return {
        (Access(group, resource, verb), name)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames", [""])
    }


def any_name(accesses: set[Access]) -> set[tuple[Access, str]]:
    return {(access, "") for access in accesses}


def lease(*verbs: str) -> set[tuple[Access, str]]:
    return {(Access(resources.LEASE.group, resources.LEASE.plural, verb), OPERATOR) for verb in verbs}


def rights_of(manifests: list[helm.Manifest], account: str) -> dict[str, set[tuple[Access, str]]]:
    """Rights of a ServiceAccount of the release by namespace; "" is the whole cluster."""
    found: dict[str, set[tuple[Access, str]]] = {}
    for binding in manifests:
        if binding["kind"] not in ("ClusterRoleBinding", "RoleBinding"):
            continue
        if any(
            subject.get("name") == account and subject["kind"] == "ServiceAccount" for subject in binding["subjects"]
        ):
            namespace = binding["metadata"].get("namespace", "")
            role = helm.one(manifests, binding["roleRef"]["kind"], binding["roleRef"]["name"], namespace)
            found.setdefault(namespace, set()).update(flat(role["rules"]))
    return found


OWN_LEASE = lease("get", "update") | {(Access(resources.LEASE.group, "leases", "create"), "")}
CLUSTER = any_name(operator_access.accesses(operator_access.CLUSTER_NEEDS))


def test_the_operator_of_a_whole_cluster_may_what_its_code_does_and_nothing_beyond(
    default_manifests: list[helm.Manifest],
) -> None:
    everywhere = any_name(operator_access.namespaced()) | CLUSTER | lease("list", "watch")
    assert rights_of(default_manifests, OPERATOR) == {"": everywhere, helm.NAMESPACE: OWN_LEASE}


def test_the_operator_of_some_namespaces_may_nothing_in_the_others() -> None:
    watched = {
        Access(item.group, item.plural, verb)
        for item in resources.WATCHED
        if item.namespaced
        for verb in ("list", "watch")
    }
    there = any_name(operator_access.namespaced()) | lease("list", "watch")
    assert rights_of(helm.template({"watchNamespaces": ["vision", "speech"]}), OPERATOR) == {
        "": CLUSTER,
        helm.NAMESPACE: OWN_LEASE | lease("list", "watch") | any_name(watched),
        "vision": there,
        "speech": there,
    }


@pytest.mark.parametrize(
    ("gateway", "proxies"),
    [
        ({"className": "envoy", "envoy": {"enabled": True}}, "envoy-gateway-system"),
        (
            {
                "parentRef": {"namespace": "gateways", "name": "models"},
                "address": "models.proxies.svc.cluster.local",
                "statisticsPort": 9901,
            },
            "proxies",
        ),
        ({"parentRef": {"namespace": "gateways", "name": "models"}, "address": "models.proxies.svc"}, None),
    ],
    ids=["Envoy Gateway", "another Envoy", "another gateway"],
)
def test_behind_a_gateway_the_operator_may_find_the_proxies_that_count_and_let_routes_name_the_activator(
    default_manifests: list[helm.Manifest], gateway: dict[str, Any], proxies: str | None
) -> None:
    expected = rights_of(default_manifests, OPERATOR)
    if proxies is not None:
        expected[proxies] = any_name(operator_access.accesses(operator_access.PROXY_NEEDS))
        expected[helm.NAMESPACE] |= any_name(operator_access.accesses(operator_access.ACTIVATOR_NEEDS))
    assert rights_of(helm.template({"gateway": gateway}), OPERATOR) == expected


def test_the_operator_that_looks_after_its_own_namespace_has_both_rights_there() -> None:
    rights = rights_of(helm.template({"watchNamespaces": [helm.NAMESPACE]}), OPERATOR)
    assert rights == {
        "": CLUSTER,
        helm.NAMESPACE: OWN_LEASE | any_name(operator_access.namespaced()) | lease("list", "watch"),
    }


def test_an_operator_that_does_not_protect_single_pods_may_not_see_nodes(
    default_manifests: list[helm.Manifest],
) -> None:
    without = rights_of(helm.template({"serving": {"protectSinglePods": False}}), OPERATOR)[""]
    nodes = {Access("", "nodes", verb) for verb in ("list", "watch")}
    assert rights_of(default_manifests, OPERATOR)[""] - without == any_name(nodes)


def test_an_operator_that_makes_no_network_policies_may_not_make_any(default_manifests: list[helm.Manifest]) -> None:
    without = rights_of(helm.template({"training": {"networkPolicies": False}}), OPERATOR)[""]
    writes = {Access("networking.k8s.io", "networkpolicies", verb) for verb in ("create", "patch")}
    assert rights_of(default_manifests, OPERATOR)[""] - without == any_name(writes)


def test_every_kind_that_the_builders_write_may_be_created_and_every_kind_that_is_deleted_may_be_deleted() -> None:
    needs = {
        resource.gvk: verbs for resource, verbs in (operator_access.NEEDS | operator_access.ACTIVATOR_NEEDS).items()
    }
    emitted, deleted = operator_access.emitted_kinds(), operator_access.deleted_kinds()
    versions = {resources.MODEL_VERSION.gvk, resources.MODEL_DEPLOYMENT.gvk}
    assert emitted >= {resources.POD.gvk, resources.SERVICE.gvk, resources.DEPLOYMENT.gvk} | versions
    assert deleted >= {resources.POD.gvk, resources.DEPLOYMENT.gvk, resources.SERVICE.gvk}
    assert {kind for kind in emitted if "create" in needs[kind]} == emitted
    assert {kind for kind, verbs in needs.items() if "delete" in verbs} == deleted


def test_everything_that_is_watched_may_be_listed_and_watched() -> None:
    everything = operator_access.NEEDS | operator_access.CLUSTER_NEEDS
    watched = {store.resource.gvk for store in Cache(labels.MODEL_DEPLOYMENT).stores}
    assert {item.gvk for item in resources.WATCHED} <= watched
    assert watched <= {item.gvk for item, verbs in everything.items() if {"list", "watch"} <= verbs}


def test_nobody_but_a_hook_may_touch_definitions_or_secrets_but_for_the_keys_of_labelled_namespaces(
    default_manifests: list[helm.Manifest],
) -> None:
    sensitive = {
        "secrets",
        "customresourcedefinitions",
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
    }
    assert rights_of(default_manifests, NAMESPACE_KEYS) == {
        "": {(Access("", "namespaces", "list"), "")}
        | {(Access("", "secrets", verb), names.OBJECT_STORE_SECRET) for verb in ("get", "create", "patch")}
    }
    for role in default_manifests:
        named = role["metadata"]["name"]
        if role["kind"] in ("Role", "ClusterRole") and not helm.is_hook(role) and named != NAMESPACE_KEYS:
            assert not sensitive & {access.resource for access, _ in flat(role["rules"])}, role["metadata"]["name"]


def test_hooks_reach_named_objects_only_and_their_rights_end_with_them(default_manifests: list[helm.Manifest]) -> None:
    for account in ("fovea-installer", "fovea-provision"):
        rights = set().union(*rights_of(default_manifests, account).values())
        unnamed = {access for access, name in rights if not name}
        assert unnamed <= {Access("fovea.dev", "machinetypes", verb) for verb in ("list", "create", "patch", "delete")}
        for item in default_manifests:
            if item["metadata"]["name"] == account:
                assert helm.is_hook(item), item["kind"]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.scope == "Namespaced"], ids=lambda kind: kind.plural)
def test_viewers_read_and_editors_write_our_kinds_but_not_their_status(
    default_manifests: list[helm.Manifest], kind: Any
) -> None:
    view = helm.one(default_manifests, "ClusterRole", "fovea-view")
    edit = helm.one(default_manifests, "ClusterRole", "fovea-edit")
    aggregate = "rbac.authorization.k8s.io/aggregate-to-"
    assert (
        view["metadata"]["labels"].items()
        >= {f"{aggregate}{role}": "true" for role in ("view", "edit", "admin")}.items()
    )
    assert edit["metadata"]["labels"].items() >= {f"{aggregate}{role}": "true" for role in ("edit", "admin")}.items()
    assert f"{aggregate}view" not in edit["metadata"]["labels"]
    reads = {access.verb for access, _ in flat(view["rules"]) if access.resource == kind.plural}
    writes = {access.verb for access, _ in flat(edit["rules"]) if access.resource == kind.plural}
    assert reads == {"get", "list", "watch"}
    assert writes == {"create", "update", "patch", "delete", "deletecollection"}
    granted = flat(view["rules"]) | flat(edit["rules"])
    assert not [access for access, _ in granted if access.resource.endswith("/status")]


def test_everyone_who_is_known_reads_machine_types_and_nothing_else(default_manifests: list[helm.Manifest]) -> None:
    bound = [
        item["roleRef"]["name"]
        for item in default_manifests
        if item["kind"] == "ClusterRoleBinding" and item["subjects"][0].get("name") == "system:authenticated"
    ]
    assert bound == ["fovea-machine-types"]
    rights = flat(helm.one(default_manifests, "ClusterRole", "fovea-machine-types")["rules"])
    assert rights == any_name({Access("fovea.dev", "machinetypes", verb) for verb in ("get", "list", "watch")})


@pytest.mark.parametrize("release", ["fovea", "platform"])
def test_everyone_who_is_known_may_read_from_the_operators_port_for_progress_and_from_no_other(release: str) -> None:
    manifests = helm.template(release=release)
    url = operator_setting(manifests, "REPORT_URL") + PROGRESS_PATH
    address = live.ADDRESS.fullmatch(url)
    assert address is not None, f"the client does not ask {url}"
    service, namespace, port = address.groups()
    assert {"name": "progress", "port": int(port)}.items() <= helm.one(manifests, "Service", service)["spec"]["ports"][
        0
    ].items()
    [role] = [item for item in manifests if item["metadata"]["name"].endswith("-live-progress") and "rules" in item]
    assert (role["kind"], role["metadata"]["namespace"]) == ("Role", namespace)
    # `get` covers GET and HEAD only: nobody can post a report this way.
    assert flat(role["rules"]) == {
        (Access("", "services/proxy", "get"), f"{service}:{each}") for each in (port, "progress")
    }
    binding = helm.one(manifests, "RoleBinding", role["metadata"]["name"], namespace)
    assert [subject["name"] for subject in binding["subjects"]] == ["system:authenticated"]


def operator_setting(manifests: list[helm.Manifest], name: str) -> str:
    [operator] = [
        item for item in manifests if item["kind"] == "Deployment" and item["metadata"]["name"].endswith("-operator")
    ]
    variables = operator["spec"]["template"]["spec"]["containers"][0]["env"]
    return next(str(each["value"]) for each in variables if each["name"] == f"FOVEA_OPERATOR_{name}")


@pytest.mark.parametrize("values", [{"liveProgress": False}, {"create": False}], ids=str)
def test_nobody_needs_to_reach_the_operator(values: dict[str, bool]) -> None:
    roles = [item for item in helm.template({"userRoles": values}) if item["kind"] in ("Role", "ClusterRole")]
    assert not [access for role in roles for access, _ in flat(role["rules"]) if "proxy" in access.resource]
