"""The node's network: a bridge that carries its address, forwarding, masquerading of what pods send outside."""

from __future__ import annotations

import json
from pathlib import Path

from fovea_dev.commands import output, succeeds
from fovea_dev.layout import NODE_ADDRESS, POD_NETWORK, SERVICE_NETWORK, Cluster
from fovea_dev.pki import write_private
from fovea_dev.progress import StepFailed

# Everything that we, kubelet or kube-proxy set: remembered before, put back by `down`.
KERNEL_SETTINGS = (
    "net/ipv4/ip_forward",
    "net/bridge/bridge-nf-call-iptables",
    "net/bridge/bridge-nf-call-ip6tables",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
_WANTED = {
    "net/ipv4/ip_forward": "1",
    # On one bridge too, an answer must pass the rules that gave its asker a service's address, and a request those of policies.
    "net/bridge/bridge-nf-call-iptables": "1",
}
# In its nftables mode kube-proxy owns these two tables and no other rule.
KUBE_PROXY_TABLES = (("ip", "kube-proxy"), ("ip6", "kube-proxy"))
_MODULES = {"br_netfilter": Path("/proc/sys/net/bridge"), "overlay": Path("/sys/module/overlay")}


def nft_rules(table: str) -> str:
    """Our table as nft source: pods that leave the pod network appear under the node's address."""
    return f"""\
table ip {table} {{}}
delete table ip {table}
table ip {table} {{
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr {POD_NETWORK} ip daddr != {POD_NETWORK} oifname != "lo" masquerade
    }}
}}
"""


def bring_up(cluster: Cluster, notes: list[str]) -> None:
    """Make the bridge, the kernel settings and the nft table; nothing changes when they are there."""
    _refuse_a_second(cluster)
    _load_modules()
    _remember_settings(cluster)
    for name, value in _WANTED.items():
        write_setting(name, value)
    link = cluster.node_link
    if not succeeds(["ip", "link", "show", link]):
        output(["ip", "link", "add", link, "type", "bridge"])
    output(["ip", "address", "replace", f"{NODE_ADDRESS}/32", "dev", link])
    output(["ip", "link", "set", link, "up"])
    # Without it, a machine that has no default route could not even begin to talk to a service's address.
    output(["ip", "route", "replace", str(SERVICE_NETWORK), "dev", link, "src", NODE_ADDRESS])
    output(["nft", "-f", "-"], stdin=nft_rules(cluster.nft_table))
    notes.append(f"{link} {NODE_ADDRESS}")


def take_down(cluster: Cluster) -> None:
    """Delete our links and tables and kube-proxy's, and put the kernel settings back."""
    # Our own table is the sign that kube-proxy's are this cluster's too: it is made before and deleted after them.
    if _has_table("ip", cluster.nft_table):
        for family, table in (*KUBE_PROXY_TABLES, ("ip", cluster.policy_table), ("ip", cluster.nft_table)):
            if _has_table(family, table):
                output(["nft", "delete", "table", family, table])
    for link in (cluster.pod_bridge, cluster.node_link):
        if succeeds(["ip", "link", "show", link]):
            output(["ip", "link", "delete", link])
    _restore_settings(cluster)


def proxy_tables_exist() -> bool:
    """Whether kube-proxy's tables are there: without them it does not notice, and no service is reached."""
    return all(_has_table(family, table) for family, table in KUBE_PROXY_TABLES)


def _refuse_a_second(cluster: Cluster) -> None:
    lines = output(["ip", "-oneline", "address", "show", "to", f"{NODE_ADDRESS}/32"]).splitlines()
    others = {line.split()[1] for line in lines} - {cluster.node_link}
    if others:
        raise StepFailed(
            f"{NODE_ADDRESS} belongs to {', '.join(sorted(others))}: another cluster is up in this network namespace; "
            f"run cluster {cluster.name!r} in one of its own (nsenter --net=...)"
        )


def _has_table(family: str, table: str) -> bool:
    return succeeds(["nft", "list", "table", family, table])


def setting_file(name: str) -> Path:
    """The file of a kernel setting."""
    return Path("/proc/sys") / name


def write_setting(name: str, value: str) -> None:
    """Set a kernel setting if it differs."""
    file = setting_file(name)
    if file.read_text().strip() != value:
        file.write_text(value + "\n")


def _load_modules() -> None:
    for module, sign in _MODULES.items():
        if not sign.exists():
            succeeds(["modprobe", module])
    if not _MODULES["br_netfilter"].exists():
        raise StepFailed("the kernel has no br_netfilter (services between pods need it): try `modprobe br_netfilter`")


def _memory_file(cluster: Cluster) -> Path:
    # Like the settings themselves, it does not outlive a reboot.
    return cluster.run / "kernel-settings.json"


def _remember_settings(cluster: Cluster) -> None:
    if _memory_file(cluster).exists():
        return
    values = {name: setting_file(name).read_text().strip() for name in KERNEL_SETTINGS if setting_file(name).exists()}
    write_private(_memory_file(cluster), json.dumps(values, indent=2) + "\n")


def _restore_settings(cluster: Cluster) -> None:
    try:
        values = json.loads(_memory_file(cluster).read_text())
    except FileNotFoundError:
        return
    for name, value in values.items():
        if name in KERNEL_SETTINGS and setting_file(name).exists():
            write_setting(name, value)
