"""``kernel.kubernetes``."""

from __future__ import annotations

import pytest

from moat_nb.config.model import ClusterOptions
from tests.unit.config.reading import config, refused


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("~", None),
        ("{}", ClusterOptions()),
        ("{service_account: none}", ClusterOptions()),
        (
            "{context: arn:aws/eks, namespace: ada, network: unenforced, grace: 10, storage: 5,"
            " registry: 'r.example:5000/a/b', storage_class: fast, service_account: s,"
            " runtime_class: gvisor, image_pull_secrets: [p], node_selector: {disk: ssd},"
            " tolerations: [{key: gpu, operator: Exists}], resources: {nvidia.com/gpu: 1}}",
            ClusterOptions(
                context="arn:aws/eks",
                namespace="ada",
                network="unenforced",
                grace=10,
                storage_mb=5,
                registry="r.example:5000/a/b",
                storage_class="fast",
                service_account="s",
                runtime_class="gvisor",
                image_pull_secrets=("p",),
                node_selector=(("disk", "ssd"),),
                tolerations=((("operator", "Exists"), ("key", "gpu")),),
                resources=(("nvidia.com/gpu", "1"),),
            ),
        ),
    ],
)
def test_what_a_pod_is_made_as(text: str, expected: ClusterOptions | None) -> None:
    made = config(f"kernel: {{runtime: kubernetes, kubernetes: {text}}}")
    assert made.kernel.kubernetes == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{namespace: Ada}", "kernel.kubernetes.namespace: 'Ada' is not a name that Kubernetes"),
        ("{network: open}", "kernel.kubernetes.network: "),
        ("{tolerations: [{kee: x}]}", "unknown key 'kee' in kernel.kubernetes.tolerations[0]"),
        ("{node_selector: {'-a': b}}", "-a is no name of Kubernetes"),
        ("{resources: {cpu: lots}}", "kernel.kubernetes.resources.cpu: 'lots' is not a quantity"),
        ("{}, runtime: docker", "and kernel.runtime is docker"),
    ],
)
def test_what_is_none_is_refused(text: str, words: str) -> None:
    assert words in refused(f"kernel: {{kubernetes: {text}}}")
