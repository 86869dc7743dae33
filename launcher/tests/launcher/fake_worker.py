#!/usr/bin/env python3
"""Speaks the worker's side of the control protocol without training anything.

FAKE_PLAN is a JSON list with what each attempt does; the last entry serves all later ones. An entry names what happens
("do"), on which rank, after which step ("at"), and after which step to wait for the file "go" ("gate"). FAKE_FOLDER is where the ranks of one mpirun share the start line.
"""
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

RANK = int(os.environ.get("OMPI_COMM_WORLD_RANK", "0"))
WORLD = int(os.environ.get("OMPI_COMM_WORLD_SIZE", "1"))
FOLDER = os.environ["FAKE_FOLDER"]
STEPS = 6


def start_line():
    """Rank 0 reads it from standard input; the others, of the same mpirun, get it through a file."""
    shared = os.path.join(FOLDER, f"start-{os.environ.get('PMIX_NAMESPACE', os.getppid())}")
    if RANK == 0:
        line = sys.stdin.readline()
        with open(shared + ".new", "w") as file:
            file.write(line)
        os.rename(shared + ".new", shared)
    while not os.path.exists(shared):
        time.sleep(0.01)
    return json.load(open(shared))


def touch(name):
    open(os.path.join(FOLDER, name), "w").close()


def wait_for_files(names):
    for name in names:
        while not os.path.exists(os.path.join(FOLDER, name)):
            time.sleep(0.01)


def other_job(arguments):
    """`prepare` and `worker sample`: shows the arguments, or prints what it is asked to, and exits as asked."""
    print(os.environ.get("FAKE_STDOUT") or json.dumps(arguments))
    sys.stderr.write(os.environ.get("FAKE_STDERR", ""))
    code = int(os.environ.get("FAKE_EXIT", "0"))
    if code < 0:
        os.kill(os.getpid(), -code)
    sys.exit(code)


def main():
    stop = threading.Event()
    signal.signal(signal.SIGUSR2, lambda *_: stop.set())
    start = start_line()
    plans = json.loads(os.environ["FAKE_PLAN"])
    plan = plans[min(start["attempt"], len(plans)) - 1]
    if plan["do"] == "no_mpi":
        print("*** An error occurred in MPI_Init_thread", file=sys.stderr, flush=True)
        time.sleep(1000)
    host, port = start["control_address"].rsplit(":", 1)
    connection = socket.create_connection((host, int(port)))

    def send(**message):
        connection.sendall((json.dumps(message) + "\n").encode())

    def leave(code, name, message):
        # Python gives signals back to their defaults before it ends, and a late one would then kill.
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        send(type="exit", code=name, message=message)
        sys.exit(code)

    def listen():
        for line in connection.makefile():
            if json.loads(line)["type"] == "stop" and plan.get("hears") != "signals":
                stop.set()

    send(type="hello", version=plan.get("version", start["version"]), token=start["control_token"], rank=RANK,
         world_size=WORLD, pid=os.getpid(), host="here")
    threading.Thread(target=listen, daemon=True).start()
    send(type="heartbeat", step=0, phase="starting")
    if plan["do"] == "start":
        touch("starting")
        time.sleep(1000)
    # In one piece: mpirun may put what another rank prints between two.
    folder = os.environ.get("OMPI_MCA_orte_tmpdir_base") or os.environ.get("OMPI_MCA_btl_sm_backing_directory")
    print(f"threads {os.environ['OMP_NUM_THREADS']} of rank {RANK}\nsession folder {folder}", flush=True)
    # A child in a group of its own: what an attempt must not leave behind.
    child = subprocess.Popen(["sleep", "1000"], preexec_fn=os.setpgrp, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
    with open(os.path.join(FOLDER, f"child-{start['attempt']}-{RANK}"), "w") as file:
        file.write(str(child.pid))

    here = RANK == plan.get("rank", 0)
    step = 0
    while step < STEPS or plan["do"] == "wait":
        step += 1
        time.sleep(0.02)
        send(type="heartbeat", step=step, phase="training")
        if RANK == 0:
            send(type="progress", step=step, tokens=step * 512, loss=6.5 - step / 10, learning_rate=1e-3, grad_norm=0.5,
                 step_ms=20.0, tokens_per_second=25600.0, mfu=None, data_wait_ms=0.0, exposed_comm_ms=0.0,
                 memory_bytes=1)
        if RANK == 0 and step == 1:
            send(type="finding", verdict="warning", text="run         1000 epochs of the data")
            send(type="trouble", text="step 1: no save, since the one before is still under way")
        if step == 1:
            touch(f"trained-{start['attempt']}-{RANK}")
        if step == plan.get("gate"):
            wait_for_files(["go"])
        if stop.is_set() and plan["do"] != "deaf":
            leave(75, "stopped", "")
        if step == plan.get("at") and plan["do"] in ("hang", "deaf"):
            # The launcher hears of this step before a test does, however busy the machine is.
            time.sleep(0.5)
            touch(f"idle-{start['attempt']}-{RANK}")
            while True:
                time.sleep(1)
        if here and step == plan.get("at"):
            # What the others say of their first step comes before it.
            wait_for_files(f"trained-{start['attempt']}-{rank}" for rank in range(WORLD))
            if plan["do"] == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if plan["do"] == "exit":
                print("2026-01-01T00:00:00Z ERROR the shard is truncated", file=sys.stderr, flush=True)
                leave(plan["code"], plan["name"], "shard x: expected 10 bytes, got 9")
            if plan["do"] == "mute_exit":
                sys.exit(plan["code"])
    if RANK == 0:
        send(type="validation", step=step, validation_loss=5.5849, validation_sequences=8)
        send(type="notice", text="step 6: checkpoint committed")
    leave(0, "done", "")


if sys.argv[1:] == ["train", "--from-launcher"]:
    main()
else:
    other_job(sys.argv[1:])
