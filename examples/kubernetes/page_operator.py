"""An operator that publishes each Page of a cluster (crd.yaml) as a ConfigMap.

    pip install kopf kubernetes
    kopf run --standalone --all-namespaces examples/kubernetes/page_operator.py

For the Page `home` there is a ConfigMap `page-home` with its text, which belongs to the Page: it is
garbage-collected with it. The ConfigMap `pages` of each namespace lists the titles of all Pages
there; it belongs to no single one, so a finalizer keeps a deleted Page until it is off that list.

A handler can be called any number of times with the same Page and leaves the same result, so that
it may fail in the middle, whatever is restarted: kopf calls it again. One gap is not the operator's
to close: a Page that is deleted at the moment when its finalizer is added may go at once, because
the API server does not look at the finalizers a second time; its title stays listed then.

(A file `operator.py` would hide Python's own module of that name from every program beside it.)
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import kopf
from kubernetes import client, config
from kubernetes.client import ApiException

GROUP = "kvstore.example"
INDEX = "pages"
RETRY_S = 1.0
REQUEST_TIMEOUT_S = 30.0


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    config.load_config()
    settings.persistence.finalizer = f"{GROUP}/listed"
    # In annotations, because the schema of a Page prunes what it does not know from the status.
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=GROUP)


@kopf.on.resume(GROUP, "pages", backoff=RETRY_S)
@kopf.on.create(GROUP, "pages", backoff=RETRY_S)
@kopf.on.update(GROUP, "pages", field="spec", backoff=RETRY_S)
def publish(
    body: kopf.Body, spec: kopf.Spec, name: str, namespace: str, patch: kopf.Patch, **_: Any
) -> None:
    lines = list(spec["lines"])
    configmap = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"page-{name}"},
        "data": {"text": "".join(f"{line}\n" for line in [spec["title"], *lines])},
    }
    # Not `kopf.adopt`, which copies the labels, too: those of a Page that a GitOps loop applied say
    # that the loop may prune it, and its ConfigMap is in no commit.
    kopf.append_owner_reference(configmap, owner=body)
    client.CoreV1Api().patch_namespaced_config_map(
        configmap["metadata"]["name"],
        namespace,
        configmap,
        field_manager=GROUP,
        force=True,
        _content_type="application/apply-patch+yaml",
        _request_timeout=REQUEST_TIMEOUT_S,
    )
    change_index(namespace, lambda titles: titles | {name: spec["title"]})
    patch.status["configMap"] = configmap["metadata"]["name"]
    patch.status["lines"] = len(lines)


@kopf.on.delete(GROUP, "pages", backoff=RETRY_S)
def withdraw(name: str, namespace: str, **_: Any) -> None:
    change_index(namespace, lambda titles: {k: v for k, v in titles.items() if k != name})


def change_index(namespace: str, change: Callable[[dict[str, str]], dict[str, str]]) -> None:
    """Replace the titles of a namespace by `change(titles)`, with no other change in between.

    Handlers of other Pages do the same at this moment. The API server refuses a replacement of
    something else than what was read, and the loser of the race begins again.
    """
    core = client.CoreV1Api()
    while True:
        try:
            index = core.read_namespaced_config_map(
                INDEX, namespace, _request_timeout=REQUEST_TIMEOUT_S
            )
            write = core.replace_namespaced_config_map
            arguments: tuple[str, ...] = (INDEX, namespace)
        except ApiException as failure:
            if failure.status != HTTPStatus.NOT_FOUND:
                raise
            index = client.V1ConfigMap(metadata=client.V1ObjectMeta(name=INDEX))
            write, arguments = core.create_namespaced_config_map, (namespace,)
        before = index.data or {}
        index.data = change(before)
        if index.data == before:
            return
        try:
            write(*arguments, index, _request_timeout=REQUEST_TIMEOUT_S)
            return
        except ApiException as failure:
            # Gone since, or there since, is a race that was lost, too.
            if failure.status not in (HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND):
                raise
