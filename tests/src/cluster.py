#!/usr/bin/env python3
"""A cluster of this machine, for tests: as much of Kubernetes' API as the launcher asks for, over HTTP, with processes for pods.

    cluster.py FOLDER LAUNCHER

It stands in for the API server, for the MPI operator and for the kubelets, and says nothing about any of them: what it does
is what their documentation says. An MPIJob has worker pods, in which nothing runs (mpirun reaches them by the config's
`launch.remote_shell`), and a launcher pod; it and a Job's pod are the container's command as a process, with this process's
environment and what the manifest adds, where `launcher` is LAUNCHER. FOLDER/kubeconfig says how to reach it, and is there once
that can be done.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

NAMESPACE = "team"
FOLDER, LAUNCHER = Path(sys.argv[1]).resolve(), sys.argv[2]
KUBECONFIG = FOLDER / "kubeconfig"
KINDS = {
    "mpijobs": "MPIJob",
    "jobs": "Job",
    "pods": "Pod",
    "configmaps": "ConfigMap",
    "poddisruptionbudgets": "PodDisruptionBudget",
    "networkpolicies": "NetworkPolicy",
}
PATH = re.compile(r"/apis?/.*/namespaces/([^/]+)/([^/]+)(?:/([^/]+))?(/log)?")


class Objects:
    """All that there is, and every change of it. Whoever waits for one waits on `changed`."""

    def __init__(self):
        self.changed = threading.Condition()
        self.by_key = {}
        self.version = 0
        self.history = []

    def put(self, kind, name, parts):
        """Replaces `parts` of an object, which is made where there is none."""
        with self.changed:
            before = self.by_key.get((kind, name))
            object_ = {"metadata": {"namespace": NAMESPACE}, **(before or {}), **parts, "kind": kind}
            object_["metadata"] = {**object_["metadata"], "name": name, "uid": f"uid-of-{name}"}
            self.by_key[kind, name] = object_
            self.note("MODIFIED" if before else "ADDED", kind, object_)
            return object_

    def get(self, kind, name):
        return self.by_key.get((kind, name))

    def remove(self, kind, name):
        with self.changed:
            object_ = self.by_key.pop((kind, name), None)
            if object_:
                self.note("DELETED", kind, object_)
            return object_

    def remove_owned(self, kind, name):
        owned = [key for key, object_ in self.by_key.items() if is_owned(object_, kind, name)]
        for key in owned:
            self.remove(*key)

    def note(self, change, kind, object_):
        self.version += 1
        object_["metadata"]["resourceVersion"] = str(self.version)
        self.history.append((self.version, kind, json.dumps({"type": change, "object": object_})))
        self.changed.notify_all()


def is_owned(object_, kind, name):
    owners = object_["metadata"].get("ownerReferences", [])
    return any(owner["kind"] == kind and owner["name"] == name for owner in owners)


OBJECTS = Objects()
PODS = {}


class PodProcess:
    """A pod whose container is a process."""

    def __init__(self, job, name, labels, spec):
        self.job, self.name, self.labels = job, name, labels
        self.grace_s = spec["terminationGracePeriodSeconds"]
        self.container = spec["containers"][0]
        self.lines, self.code, self.is_deleted = [], None, False
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=FOLDER))
        config_map = next(volume["configMap"]["name"] for volume in spec["volumes"] if volume["name"] == "config")
        for file, text in OBJECTS.get("ConfigMap", config_map)["data"].items():
            (folder / file).write_text(text)
        workers, slots = worker_names(job), job.get("spec", {}).get("slotsPerWorker")
        (folder / "hostfile").write_text("".join(f"{worker} slots={slots}\n" for worker in workers))
        command = [LAUNCHER if word == "launcher" else word for word in self.container["command"]]
        places = {"/etc/convoy/": f"{folder}/", "/etc/mpi/": f"{folder}/"}
        for word in self.container["args"]:
            for inside, outside in places.items():
                word = word.replace(inside, outside)
            command.append(word)
        added = {variable["name"]: variable["value"] for variable in self.container.get("env", [])}
        if spec["automountServiceAccountToken"]:
            added["KUBECONFIG"] = str(KUBECONFIG)
        self.process = subprocess.Popen(
            command,
            env={**os.environ, **added},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        PODS[name] = self
        self.show(running())

    def show(self, state):
        put_pod(self.name, self.labels, self.container["name"], state)

    def follow(self):
        """Reads what it prints, until its end; returns its exit code."""
        for line in self.process.stdout:
            with OBJECTS.changed:
                # No two have the same time: that is how a reader knows where it was.
                last = self.lines[-1][0] if self.lines else 0
                self.lines.append((max(time.time_ns(), last + 1), line.rstrip("\n")))
                OBJECTS.changed.notify_all()
        code = self.process.wait()
        self.code = code if code >= 0 else 128 - code
        self.show({"terminated": {"exitCode": self.code, "reason": "Completed" if code == 0 else "Error"}})
        return self.code

    def delete(self):
        """Gives the process its notice, and takes the pod away once it has ended."""
        self.is_deleted = True
        if self.code is None:
            self.process.terminate()
            late = threading.Timer(self.grace_s, self.process.kill)
            late.start()
            while self.code is None:
                time.sleep(0.02)
            late.cancel()
        OBJECTS.remove("Pod", self.name)


def put_pod(name, labels, container, state):
    status = {"name": container, "image": "i", "imageID": "", "ready": False, "restartCount": 0, "state": state}
    ended = state.get("terminated")
    phase = "Running" if not ended else "Succeeded" if ended["exitCode"] == 0 else "Failed"
    metadata = {"namespace": NAMESPACE, "labels": labels}
    status = {"phase": phase, "containerStatuses": [status]}
    OBJECTS.put("Pod", name, {"apiVersion": "v1", "metadata": metadata, "status": status})


def running():
    return {"running": {"startedAt": datetime.now(timezone.utc).isoformat()}}


def worker_names(job):
    replicas = job["spec"].get("mpiReplicaSpecs", {}).get("Worker", {}).get("replicas", 0)
    return [f"{job['metadata']['name']}-worker-{number}" for number in range(replicas)]


def operator(job):
    """What the MPI operator does about a new MPIJob, to the end of its launcher pod."""
    name = job["metadata"]["name"]
    labels = {"training.kubeflow.org/job-name": name}
    for worker in worker_names(job):
        put_pod(worker, {**labels, "training.kubeflow.org/job-role": "worker"}, "worker", running())
    # What belongs to the MPIJob is applied after it; a pod waits for its config.
    wait_for("ConfigMap", name)
    template = job["spec"]["mpiReplicaSpecs"]["Launcher"]["template"]
    labels = {**template["metadata"]["labels"], **labels, "training.kubeflow.org/job-role": "launcher"}
    code = PodProcess(job, f"{name}-launcher-x", labels, template["spec"]).follow()
    for worker in worker_names(job):
        OBJECTS.remove("Pod", worker)
    if OBJECTS.get("MPIJob", name):
        condition = {"type": "Succeeded" if code == 0 else "Failed", "status": "True", "reason": "", "message": ""}
        OBJECTS.put("MPIJob", name, {"status": {"conditions": [condition]}})


def job_controller(job):
    """What the controller of Jobs does about a new one, to the end of its last pod."""
    name, spec = job["metadata"]["name"], job["spec"]
    labels = {**spec["template"]["metadata"]["labels"], "job-name": name}
    wait_for("ConfigMap", name)
    rules = spec["podFailurePolicy"]["rules"]
    final = [rule["onExitCodes"]["values"] for rule in rules if rule["action"] == "FailJob"][0]
    for _ in range(spec["backoffLimit"] + 1):
        code = PodProcess(job, f"{name}-{uuid.uuid4().hex[:5]}", labels, spec["template"]["spec"]).follow()
        if code == 0 or code in final or not OBJECTS.get("Job", name):
            break
    if OBJECTS.get("Job", name):
        condition = {"type": "Complete" if code == 0 else "Failed", "status": "True"}
        OBJECTS.put("Job", name, {"status": {"conditions": [condition]}})


def wait_for(kind, name):
    with OBJECTS.changed:
        OBJECTS.changed.wait_for(lambda: OBJECTS.get(kind, name))


def delete(kind, name):
    """Deletes an object and, in the background, what belongs to it."""
    found = OBJECTS.remove(kind, name)
    OBJECTS.remove_owned(kind, name)
    for pod in list(PODS.values()):
        if pod.job["metadata"]["name"] == name and pod.job["kind"] == kind and not pod.is_deleted:
            threading.Thread(target=pod.delete, daemon=True).start()
    return found


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, body, code=200):
        text = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def not_found(self):
        status = {"kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound", "message": "not found"}
        self.answer(status, 404)

    def asked(self):
        url = urlsplit(self.path)
        match = PATH.fullmatch(url.path)
        if not match or match[1] != NAMESPACE or match[2] not in KINDS:
            return None
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        return KINDS[match[2]], match[3], bool(match[4]), query

    def do_PATCH(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = self.asked()
        if not asked:
            return self.not_found()
        kind, name, _, _ = asked
        is_new = not OBJECTS.get(kind, name)
        object_ = OBJECTS.put(kind, name, body)
        if is_new and kind in CONTROLLERS:
            threading.Thread(target=CONTROLLERS[kind], args=[object_], daemon=True).start()
        self.answer(object_)

    def do_DELETE(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        asked = self.asked()
        if not asked or not delete(*asked[:2]):
            return self.not_found()
        self.answer({"kind": "Status", "apiVersion": "v1", "status": "Success"})

    def do_GET(self):
        asked = self.asked()
        if not asked:
            return self.not_found()
        kind, name, is_log, query = asked
        if is_log:
            return self.log(name, query)
        if name:
            found = OBJECTS.get(kind, name)
            return self.answer(found) if found else self.not_found()
        if "watch" in query:
            return self.watch(kind, query)
        with OBJECTS.changed:
            items = [object_ for (of, _), object_ in OBJECTS.by_key.items() if of == kind and fits(object_, query)]
            metadata = {"resourceVersion": str(OBJECTS.version)}
        self.answer({"kind": f"{kind}List", "apiVersion": "v1", "metadata": metadata, "items": items})

    def watch(self, kind, query):
        seen, ends = int(query["resourceVersion"]), time.monotonic() + int(query.get("timeoutSeconds", 300))
        self.begin()
        while time.monotonic() < ends:
            with OBJECTS.changed:
                OBJECTS.changed.wait_for(lambda: OBJECTS.version > seen, timeout=1)
                news = [(of, text) for version, of, text in OBJECTS.history if version > seen]
                seen = OBJECTS.version
            for of, text in news:
                if of == kind and fits(json.loads(text)["object"], query):
                    self.piece(text + "\n")
        self.piece("")

    def log(self, name, query):
        pod = PODS.get(name)
        if not pod:
            return self.not_found()
        since = datetime.fromisoformat(query.get("sinceTime", "1970-01-01T00:00:00Z").replace("Z", "+00:00"))
        since_ns = int(since.timestamp()) * 1_000_000_000
        self.begin()
        told, is_over = 0, False
        while not is_over:
            with OBJECTS.changed:
                OBJECTS.changed.wait_for(lambda: len(pod.lines) > told or pod.code is not None, timeout=1)
                lines, is_over = pod.lines[told:], pod.code is not None
                told += len(lines)
            fresh = "".join(f"{shown(at)} {line}\n" for at, line in lines if at >= since_ns)
            if fresh:
                self.piece(fresh)
        self.piece("")

    def begin(self):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def piece(self, text):
        """One piece of an answer; the empty one ends it."""
        data = text.encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()


def shown(at_ns):
    at = datetime.fromtimestamp(at_ns // 1_000_000_000, timezone.utc)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at_ns % 1_000_000_000:09}Z"


def fits(object_, query):
    """Whether an object is one of those that a list or a watch asks for."""
    labels = [pair.split("=") for pair in query.get("labelSelector", "").split(",") if pair]
    name = query.get("fieldSelector", "").removeprefix("metadata.name=")
    metadata = object_["metadata"]
    return all(metadata.get("labels", {}).get(key) == value for key, value in labels) and name in ("", metadata["name"])


CONTROLLERS = {"MPIJob": operator, "Job": job_controller}


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *address):
        # A client that goes while it watches is no error.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(*address)


def main():
    server = Server(("127.0.0.1", 0), Handler)
    context = {"cluster": "here", "user": "test", "namespace": NAMESPACE}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "here", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "users": [{"name": "test", "user": {}}],
        "contexts": [{"name": "test", "context": context}],
        "current-context": "test",
    }

    written = KUBECONFIG.with_suffix(".new")
    written.write_text(json.dumps(config))
    written.rename(KUBECONFIG)
    server.serve_forever()


main()
