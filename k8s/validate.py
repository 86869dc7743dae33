#!/usr/bin/env python3
"""Checks what kustomize makes of this folder against the schemas of Kubernetes and of the MPI operator.

    pip install jsonschema kubernetes-validate pyyaml
    k8s/validate.py kubeflow.org_mpijobs.yaml

The argument is the CustomResourceDefinition, manifests/base/kubeflow.org_mpijobs.yaml of kubeflow/mpi-operator.
Unknown fields are errors, as are kinds without a schema. Pod templates are checked twice, also as plain pods.
"""

import subprocess
import sys
import warnings
from pathlib import Path

import jsonschema
import kubernetes_validate
import yaml


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: validate.py kubeflow.org_mpijobs.yaml")
    warnings.simplefilter("error")
    definition = yaml.safe_load(Path(sys.argv[1]).read_text())
    version = next(v for v in definition["spec"]["versions"] if v["name"] == "v2beta1")
    schema = strict(version["schema"]["openAPIV3Schema"])
    base = Path(__file__).parent / "base"
    rendered = subprocess.run(["kubectl", "kustomize", base], check=True, capture_output=True, text=True).stdout
    for resource in yaml.safe_load_all(rendered):
        if resource["kind"] == "MPIJob":
            jsonschema.validate(resource, schema)
            for role, replica in resource["spec"]["mpiReplicaSpecs"].items():
                pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": role.lower()}, **replica["template"]}
                kubernetes_validate.validate(pod, "1.30", strict=True)
                print(f"valid: pod template of {role}")
        else:
            kubernetes_validate.validate(resource, "1.30", strict=True)
        print(f"valid: {resource['kind']} {resource['metadata']['name']}")


def strict(schema):
    """The same schema, refusing fields that it does not name."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: strict(value) for key, value in schema.items()}
    # `properties` may also be the name of a field; a schema always has its type beside it.
    if schema.get("type") == "object" and isinstance(schema.get("properties"), dict):
        schema.setdefault("additionalProperties", False)
    # Kubernetes' way to allow two types, which JSON Schema does not know.
    if schema.pop("x-kubernetes-int-or-string", False):
        schema.pop("type", None)
    return schema


if __name__ == "__main__":
    main()
