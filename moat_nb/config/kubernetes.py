"""``kernel.kubernetes``: where, and as what, pods are made."""

from __future__ import annotations

import re
from typing import Literal, TypeAlias, get_args

from moat_nb.config.cursor import Cursor
from moat_nb.config.model import ClusterOptions
from moat_nb.config.shapes import Block, Choice, Integer, Keys, ListOf, MapOf, Number, Word, key

__all__ = ["KubernetesKeys", "cluster_options"]

_Network: TypeAlias = Literal["proved", "unenforced"]

_NAME = Word(
    pattern=re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?"),
    rule="a name that Kubernetes takes: small letters, digits, - and .",
)
_CONTEXT = Word(
    pattern=re.compile(r"[A-Za-z0-9][A-Za-z0-9@:/._-]{0,252}"), rule="a context of the kubeconfig"
)
_REGISTRY = Word(
    pattern=re.compile(r"[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[a-z0-9._-]+)*"),
    rule="a registry and a path there, such as registry.example.org/team",
)
_LABEL = re.compile(r"([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_VALUE = Word(
    pattern=re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"),
    rule="a label's value: letters, digits, - . and _",
)
_QUANTITY = Word(
    pattern=re.compile(r"[0-9]{1,15}(\.[0-9]{1,9})?(m|[kMGTPE]i?)?"),
    rule="a quantity of Kubernetes, such as 1, 500m or 2Gi",
)
_KEY = Word(pattern=_LABEL, rule="a label's name: NAME or DOMAIN/NAME")


class _TolerationKeys(Keys):
    operator = key(Choice[str](options=("Exists", "Equal")), "Equal unless given.")
    value = key(_VALUE, "The taint's.")
    effect = key(
        Choice[str](options=("NoSchedule", "PreferNoSchedule", "NoExecute")), "All unless given."
    )
    key = key(_KEY, "The taint's.")


class KubernetesKeys(Keys):
    context = key(_CONTEXT, "The kubeconfig's context; its current one unless given.")
    namespace = key(_NAME, "Where pods are made; the context's unless given.")
    network = key(
        Choice[_Network](options=get_args(_Network)),
        "unenforced: start also where the cluster does not keep pods from reaching others.",
        default=ClusterOptions.network,
    )
    grace = key(
        Number(maximum=10 * 365 * 86400),
        "Seconds without a sign of this machine after which a pod ends by itself.",
        default=ClusterOptions.grace,
    )
    registry = key(_REGISTRY, "Where images are pushed that are built, and pulled by the nodes.")
    storage_class = key(_NAME, "Of the volumes; the cluster's default unless given.")
    storage = key(
        Integer(minimum=1, maximum=1 << 24, unit="MB"),
        "MB of each volume, as of the project's copy.",
        default=ClusterOptions.storage_mb,
    )
    service_account = key(_NAME, "Whom pods run as; no pod gets its token. none unless given.")
    runtime_class = key(_NAME, "What nodes run them with, such as gvisor.")
    image_pull_secrets = key(
        ListOf(item=_NAME),
        "Secrets of the namespace to pull images with.",
        default=ClusterOptions.image_pull_secrets,
    )
    node_selector = key(MapOf(names=_LABEL, value=_VALUE), "Labels that a node must have.")
    tolerations = key(ListOf(item=Block(_TolerationKeys)), "Taints of nodes that are no obstacle.")
    resources = key(
        MapOf(names=_LABEL, value=_QUANTITY),
        "memory and cpu: what a node must have free; others, such as nvidia.com/gpu: limits.",
    )


def cluster_options(cursor: Cursor, runtime: str) -> ClusterOptions | None:
    """None where none are given; ``runtime`` is what ``kernel.runtime`` says."""
    if cursor.node is None or not cursor.given:
        return None
    if runtime not in ("auto", "kubernetes"):
        cursor.fail(
            f"kernel.kubernetes is for runtime: kubernetes, and kernel.runtime is {runtime}",
            "take one of them out",
        )
    fields = cursor.fields(KubernetesKeys.names())
    account = fields.read(KubernetesKeys.service_account)
    return ClusterOptions(
        context=fields.read(KubernetesKeys.context),
        namespace=fields.read(KubernetesKeys.namespace),
        network=fields.read(KubernetesKeys.network),
        grace=fields.read(KubernetesKeys.grace),
        registry=fields.read(KubernetesKeys.registry),
        storage_class=fields.read(KubernetesKeys.storage_class),
        storage_mb=fields.read(KubernetesKeys.storage),
        service_account=None if account == "none" else account,
        runtime_class=fields.read(KubernetesKeys.runtime_class),
        image_pull_secrets=fields.read(KubernetesKeys.image_pull_secrets),
        node_selector=_named(fields.at(KubernetesKeys.node_selector), _VALUE),
        tolerations=tuple(map(_toleration, fields.at(KubernetesKeys.tolerations).items())),
        resources=_named(fields.at(KubernetesKeys.resources), _QUANTITY),
    )


def _toleration(cursor: Cursor) -> tuple[tuple[str, str], ...]:
    fields = cursor.fields(_TolerationKeys.names())
    values = ((field.name, fields.read(field)) for field in _TolerationKeys.fields())
    return tuple((name, value) for name, value in values if value is not None)


def _named(cursor: Cursor, shape: Word) -> tuple[tuple[str, str], ...]:
    found = []
    for name, value in cursor.entries().items():
        if not _LABEL.fullmatch(name):
            value.fail(f"{name} is no name of Kubernetes", "write NAME or DOMAIN/NAME")
        text = shape.read(value, None)
        if text is not None:
            found.append((name, text))
    return tuple(found)
