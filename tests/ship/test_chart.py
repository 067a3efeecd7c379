"""The Helm chart: lint, render, and Kubernetes' own schemas of what was rendered."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.foreign.environments import interpreter

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "inference-store"
HELM, KUBERNETES = "helm-python-sdk==0.2.2", "kubernetes-validate~=1.37.0"
LEAST = {
    "existingSecret": "istore",
    "database": {"url": "postgresql://istore@db.example.org/istore"},
    "redis": {"url": "redis://valkey.example.org:6379/0"},
    "s3": {"bucket": "inferences"},
}
SECRETS = dict.fromkeys(
    ("secret-key", "signing-key", "metrics-token", "admin-password"), "a: 'b\"c"
)
LAG = {
    "type": "External",
    "external": {
        "metric": {"name": "istore_stream_lag_events"},
        "target": {"type": "Value", "value": "10000"},
    },
}
SCALED = {"enabled": True, "minReplicas": 2, "maxReplicas": 9}
PEERS = [{"namespaceSelector": {"matchLabels": {"name": "ingress"}}}]
# Everything that is off by default.
EVERYTHING = {
    **LEAST,
    "existingSecret": "",
    "secret": SECRETS,
    "image": {"repository": "r.example.org/istore", "digest": "sha256:" + 64 * "0"},
    "imagePullSecrets": [{"name": "pull"}],
    "s3": {
        **LEAST["s3"],
        "endpoint": "https://s3.example.org",
        "publicEndpoint": "https://blobs.example.org",
        "makeBucket": True,
    },
    "settings": {"ISTORE_UPSTREAM_ALLOW": "10.0.0.0/8", "ISTORE_SMALL": True},
    "extraEnv": [{"name": "TZ", "value": "UTC"}],
    "trustedProxies": "10.0.0.0/8",
    "publicUrl": "https://store.example.org",
    "publicProxyUrl": "https://models.example.org",
    "podLabels": {"team": "harbour"},
    "podAnnotations": {"note": "yes"},
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"key": "k", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "high",
    "proxy": {"autoscaling": SCALED, "spool": {"storageClass": "fast"}},
    "listener": {"autoscaling": {**SCALED, "cpu": 0, "metrics": [LAG]}},
    "web": {"autoscaling": SCALED},
    "ingress": {
        "enabled": True,
        "className": "nginx",
        "tls": [{"hosts": ["store.example.org"], "secretName": "tls"}],
    },
    "networkPolicy": {
        "webFrom": PEERS,
        "proxyFrom": PEERS,
        "metricsFrom": PEERS,
        "egress": [{"to": [{"ipBlock": {"cidr": "10.1.0.0/16"}}]}],
    },
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "backup": {
        "enabled": True,
        "target": "/var/backups/istore",
        "existingClaim": "backups",
    },
}
# Resources of operators, whose schemas are not Kubernetes' own.
FOREIGN = {"ServiceMonitor"}


def test_the_chart_is_of_the_release_beside_it():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    client = tomllib.loads((ROOT / "sdk/pyproject.toml").read_text())["project"]
    assert chart["version"] == chart["appVersion"] == client["version"]


def answer_of(values: dict[str, Any]) -> dict[str, Any]:
    python = interpreter("helm", [HELM])
    done = subprocess.run(
        [python, Path(__file__).with_name("render_chart.py"), CHART],
        input=json.dumps(values),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return json.loads(done.stdout)


def documents(answer: dict[str, Any]) -> Iterator[dict[str, Any]]:
    assert "error" not in answer, answer["error"]
    for name, text in answer["manifests"].items():
        if not name.endswith("NOTES.txt"):
            yield from filter(None, yaml.safe_load_all(text))


@pytest.fixture(scope="module", params=[LEAST, EVERYTHING], ids=["least", "everything"])
def rendered(request) -> dict[str, Any]:
    return answer_of(request.param)


def containers(rendered) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    for document in documents(rendered):
        spec = document.get("spec", {})
        spec = spec.get("jobTemplate", document).get("spec", {})
        if "template" in spec:
            pod = spec["template"]["spec"]
            for container in pod["containers"]:
                yield container["name"], container, pod


def test_lint_and_the_schemas_of_kubernetes_find_nothing(rendered, tmp_path):
    findings = rendered["findings"]
    assert [one for one in findings["messages"] if one["severity"] > 1] == []
    assert findings["errors"] == []
    own = [one for one in documents(rendered) if one["kind"] not in FOREIGN]
    path = tmp_path / "manifests.yaml"
    path.write_text(yaml.safe_dump_all(own))
    python = interpreter("kubernetes-validate", [KUBERNETES])
    validate = [python.with_name("kubernetes-validate"), "-k", "1.33", "--strict"]
    done = subprocess.run(
        [*validate, path], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_pod_runs_as_root_or_writes_to_its_image(rendered):
    names = set()
    for name, container, pod in containers(rendered):
        names.add(name)
        assert pod["securityContext"]["runAsUser"] == 10001
        assert pod["securityContext"]["runAsNonRoot"] is True
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] is True
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert pod["automountServiceAccountToken"] is False
        mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert {"/tmp", "/var/lib/istore"} <= mounted
        assert container["resources"]["limits"]["memory"]
    roles = {"web", "proxy", "listener", "worker", "exporter", "beat"}
    assert roles | {"migrate"} <= names


def test_secrets_are_in_a_secret_alone(rendered):
    for _, container, _ in containers(rendered):
        for variable in container["env"]:
            if variable["name"].endswith(("_KEY", "_PASSWORD", "_TOKEN")):
                assert "secretKeyRef" in variable["valueFrom"]
    for document in documents(rendered):
        if document["kind"] == "Secret":
            assert document["stringData"] == SECRETS


def test_every_network_policy_and_budget_finds_its_pods(rendered):
    labels = []
    for document in documents(rendered):
        spec = document.get("spec", {})
        spec = spec.get("jobTemplate", document).get("spec", {})
        if "template" in spec:
            labels.append(spec["template"]["metadata"]["labels"])
    for document in documents(rendered):
        if document["kind"] in ("NetworkPolicy", "PodDisruptionBudget"):
            spec = document["spec"]
            selector = spec.get("podSelector", spec.get("selector"))["matchLabels"]
            assert any(selector.items() <= pod.items() for pod in labels)


def test_no_variable_is_there_twice_or_could_be(rendered):
    helpers = (CHART / "templates" / "_helpers.tpl").read_text()
    own = helpers.partition('"istore.ownVariables" -}}')[2].partition("{{/*")[0]
    given = {*EVERYTHING["settings"], *(one["name"] for one in EVERYTHING["extraEnv"])}
    for _, container, _ in containers(rendered):
        names = [variable["name"] for variable in container["env"]]
        assert len(names) == len({*names})
        plain = {one["name"] for one in container["env"] if "value" in one} - given
        assert plain <= {*re.findall(r"[A-Z][A-Z0-9_]+", own)}


def backup_to(target: str, **more: str) -> dict[str, Any]:
    return {"backup": {"enabled": True, "target": target, **more}}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"existingSecret": ""}, "existingSecret"),
        ({"database": {"url": ""}}, "database.url"),
        ({"redis": {"url": "http://x"}}, "redis"),
        ({"s3": {"bucket": ""}}, "s3.bucket"),
        ({"existingSecret": "", "secret": {"secret-key": "x"}}, "secret.signing-key"),
        ({"proxy": {"replicas": -1}}, "replicas"),
        ({"proxi": {}}, "proxi"),
        ({"settings": {"istore small": "1"}}, "istore small"),
        ({"backup": {"enabled": True}}, "backup.target"),
        # The root is read-only: such a job would fail every night.
        (backup_to("/var/backups/istore"), "backup.existingClaim"),
        (backup_to("/data", existingClaim="b"), "backup.target"),
        (backup_to("/var/backups/istore2", existingClaim="b"), "backup.target"),
        ({"settings": {"ISTORE_METRICS_PORT": 9}}, "settings.ISTORE_METRICS_PORT"),
        ({"settings": {"ISTORE_X_TOKEN": "t"}}, "settings.ISTORE_X_TOKEN"),
        # A node could never be drained.
        ({"web": {"disruptionBudget": {"maxUnavailable": 0}}}, "maxUnavailable"),
    ],
)
def test_a_value_that_is_missing_or_wrong_is_named(change, why):
    answer = answer_of({**LEAST, **change})
    assert why in answer["error"]
