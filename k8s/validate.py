#!/usr/bin/env python3
"""Checks Kubernetes manifests against the schemas of Kubernetes and of the MPI operator.

    pip install jsonschema kubernetes-validate pyyaml
    kubectl kustomize k8s/overlays/cpu | k8s/validate.py kubeflow.org_mpijobs.yaml

The manifests come from standard input. The argument is the CustomResourceDefinition, which is
manifests/base/kubeflow.org_mpijobs.yaml of kubeflow/mpi-operator; without it, MPIJobs are refused. Unknown fields are
errors, as are kinds without a schema, and every warning. Pod templates of an MPIJob are checked twice, also as plain pods.
"""

import sys
import warnings
from pathlib import Path

import jsonschema
import kubernetes_validate
import yaml

# The oldest version of Kubernetes for which this is meant to hold, and a recent one.
VERSIONS = ["1.30", "1.36"]


def main():
    warnings.simplefilter("error")
    schema = mpi_job_schema(Path(sys.argv[1])) if len(sys.argv) == 2 else None
    for resource in yaml.safe_load_all(sys.stdin):
        if resource["kind"] == "MPIJob":
            if schema is None:
                sys.exit("usage: validate.py kubeflow.org_mpijobs.yaml < manifests.yaml")
            jsonschema.validate(resource, schema)
            for role, replica in resource["spec"]["mpiReplicaSpecs"].items():
                template = replica["template"]
                metadata = {**template.get("metadata", {}), "name": role.lower()}
                check({"apiVersion": "v1", "kind": "Pod", **template, "metadata": metadata})
                print(f"valid: pod template of {role}")
        else:
            check(resource)
        print(f"valid: {resource['kind']} {resource['metadata']['name']}")


def check(resource):
    for version in VERSIONS:
        kubernetes_validate.validate(resource, version, strict=True)


def mpi_job_schema(path):
    definition = yaml.safe_load(path.read_text())
    version = next(v for v in definition["spec"]["versions"] if v["name"] == "v2beta1")
    return strict(version["schema"]["openAPIV3Schema"])


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
