#!/usr/bin/env bash
# Everything that only a GPU can show, in one command, with a table last: losses against the CPU's, the collectives'
# conformance suite over NCCL, and speed, MFU and memory beside PyTorch on the same card.
#
#   scripts/gpu_check.sh [CHECK...] of: kernels losses conformance ranks 124m 1558m (the default), and 1558m-large, a rank's share
#                                   of the recipe on 8 GPUs, which takes 110 GB; tiny is for a CPU. Ends with 1 if something is
#                                   not as it must be. Where there is no bundle it makes one first, which needs Rust
#   scripts/gpu_check.sh bundle     makes target/gpu-check: stripped programs, Open MPI, data, and this script, to carry to a host
#                                   with a GPU that has Python with PyTorch (whose CUDA libraries are used) and nothing else
#
#   PYTHON=python3    the interpreter whose torch is the peer, and lends its libraries
#   PEAK_FLOPS=989e12 peak dense bfloat16 FLOP/s of the card, for the MFU (an H100's and H200's)
#   STEPS=20          steps that are timed
#   PEER=yes          "no" leaves PyTorch's speed out
#   NCCL=FILE         an NCCL in the place of PyTorch's. With one of 2.30 or newer two ranks can share a GPU, and do
#   RESULTS=DIR       keeps what the table is made of
#   DEVICE=cpu        goes the same way without a GPU, on small sizes: to try the script itself
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly PYTHON=${PYTHON:-python3} PEAK_FLOPS=${PEAK_FLOPS:-989e12} DEVICE=${DEVICE:-cuda} NCCL=${NCCL:-}
STEPS=${STEPS:-20} PEER=${PEER:-yes}
# On a CPU, over MPI. On one GPU, find_nccl looks whether two can share it, and what it is.
rank_count=2 nccl=
# To try the script, a few do.
if [ "$DEVICE" = cuda ]; then loss_steps=300; else loss_steps=20; fi
# In a bundle this script is part of it.
if [ -x bin/worker ]; then bundle=.; else bundle=${CARGO_TARGET_DIR:-target}/gpu-check; fi

say() { printf '\n== %s\n' "$*"; }
fail() { printf 'gpu_check: %s\n' "$1" >&2; exit 1; }

# --- What is carried.

make_bundle() {
    local release=${CARGO_TARGET_DIR:-target}/release suite units
    make setup
    # shellcheck source=scripts/env.sh
    . scripts/env.sh
    cargo build --release --workspace --bins
    [ -f demo/data/train/index.json ] || prepare_text "$release"
    suite=$(cargo test --release --workspace --test collectives --no-run 2>&1 | sed -n 's/.*Executable.*collectives.rs (\(.*\))/\1/p')
    units=$(cargo test --release --workspace --lib --no-run 2>&1 | sed -n 's/.*Executable unittests src.lib.rs (\(.*\/worker-.*\))/\1/p')
    rm -rf "$bundle" && mkdir -p "$bundle/bin" "$bundle/openmpi/lib" "$bundle/openmpi/bin" "$bundle/data" "$bundle/scripts" "$bundle/benches"
    install -s "$release/worker" "$bundle/bin/worker"
    install -s "$suite" "$bundle/bin/collectives"
    install -s "$units" "$bundle/bin/units"
    cp demo/data/train/* "$bundle/data/"
    cp scripts/gpu_check.sh scripts/gpu_check_table.py "$bundle/scripts/"
    cp benches/pytorch_gpt2.py "$bundle/benches/"
    copy_open_mpi
    du -sh "$bundle"
}

# What the demo trains on.
prepare_text() {
    mkdir -p demo && touch demo/.convoy-demo
    python3 scripts/jargon_to_jsonl.py demo/text.jsonl
    "$1/launcher" prepare --config configs/prepare-jargon.toml
}

# Programs, plug-ins, help texts, and whatever libraries these need that are not every system's.
copy_open_mpi() {
    local plugins=/usr/lib/x86_64-linux-gnu/openmpi/lib/openmpi3
    cp "$(command -v mpirun)" "$(command -v orted)" "$bundle/openmpi/bin/"
    cp -r "$plugins" "$bundle/openmpi/lib/"
    cp -rL /usr/share/openmpi "$bundle/openmpi/share"
    ldd "$bundle/bin/worker" "$bundle"/openmpi/bin/* "$plugins"/mca_*.so 2>/dev/null |
        awk '$3 ~ /lib(open|mpi|hwloc|event|pmix|munge|z\.|udev|cap|psm|fabric|uc|rdmacm|ibverbs|nl-)/ { print $3 }' | sort -u |
        xargs -r cp -L -t "$bundle/openmpi/lib/"
}

# --- Where programs and libraries are.

find_programs() {
    [ -x "$bundle/bin/worker" ] || make_bundle
    export OPAL_PREFIX=$PWD/$bundle/openmpi
    export PATH=$OPAL_PREFIX/bin:$PATH
    OPAL_LIBDIR=$OPAL_PREFIX/lib
    export OPAL_LIBDIR OPAL_DATADIR=$OPAL_PREFIX/share OMPI_MCA_mca_base_component_path=$OPAL_PREFIX/lib/openmpi3
    export LD_LIBRARY_PATH
    LD_LIBRARY_PATH=$(torch_libraries):$OPAL_LIBDIR:${LD_LIBRARY_PATH:-}
    worker=$bundle/bin/worker suite=$bundle/bin/collectives data=$bundle/data
    if [ -n "${RESULTS:-}" ]; then
        results=$RESULTS && mkdir -p "$results"
    else
        results=$(mktemp -d)
    fi
}

# Where libtorch and CUDA's libraries are: of Python's torch, or else what this repository was built with.
torch_libraries() {
    local torch
    if torch=$("$PYTHON" -c 'import torch, os; print(os.path.join(os.path.dirname(torch.__file__), "lib"))' 2>/dev/null); then
        printf '%s' "$torch" && printf ':%s' "$torch"/../../nvidia/*/lib
    elif [ -f scripts/env.sh ]; then
        # shellcheck source=scripts/env.sh
        (. scripts/env.sh && printf '%s/lib' "$LIBTORCH")
    else
        fail "$PYTHON has no torch, whose libraries the programs need; install torch 2.11, or set PYTHON to one that has it"
    fi
}

# Two ranks share a GPU if NCCL, $NCCL or PyTorch's, is 2.30 or newer.
find_nccl() {
    local version
    version=$("$PYTHON" - "${NCCL:-${CONVOY_NCCL_LIBRARY:-libnccl.so.2}}" <<'PYTHON'
import ctypes, sys
version = ctypes.c_int()
ctypes.CDLL(sys.argv[1]).ncclGetVersion(ctypes.byref(version))
print(version.value)
PYTHON
    ) || { nccl="an NCCL that $PYTHON cannot load" rank_count=1 && return; }
    nccl="NCCL $((version / 10000)).$((version / 100 % 100)).$((version % 100))"
    say "$nccl"
    if [ -n "$NCCL" ]; then export CONVOY_NCCL_LIBRARY=$NCCL; fi
    if [ "$version" -ge 23000 ]; then export NCCL_MULTI_RANK_GPU_ENABLE=1; else rank_count=1; fi
}

mpirun_n() {
    local ranks=$1
    shift
    mpirun --allow-run-as-root --oversubscribe --bind-to none \
        --mca btl self,vader -n "$ranks" "$@"
}

# --- The checks. Each leaves files in $results that the table is made of.

# A small model from the same weights on the same tokens, by one rank: configure NAME DEVICE PRECISION DETERMINISTIC
configure() {
    local name=$1 device=$2 precision=$3 deterministic=$4
    rm -rf "$results/run-$name" "$results/$name.jsonl"
    cat >"$results/$name.toml" <<TOML
[run]
output = "$results/run-$name"
device = "$device"
[model]
preset = "tiny-cpu"
[data]
train = [{ url = "$PWD/$data" }]
[batch]
global_sequences = 16
micro_sequences = 8
sequence_tokens = 128
[optimizer]
peak_learning_rate = 1e-3
warmup_steps = 10
[train]
max_steps = $loss_steps
precision = "$precision"
deterministic = $deterministic
TOML
}

train() {
    configure "$@"
    if "$worker" train --config "$results/$1.toml" 2>"$results/$1.log"; then
        keep_losses "$1"
    else
        tail -5 "$results/$1.log"
    fi
}

keep_losses() {
    cat "$results/run-$1"/metrics/*/*.jsonl >"$results/$1.jsonl"
}

losses() {
    say "losses: $loss_steps steps of real text on the CPU in float32, on $DEVICE in float32 and in bfloat16, each twice"
    local run
    # Also bfloat16 must repeat, whose products choose among ways by time when they may. The last one may, and takes the kernels
    # whose order varies, as training does by default.
    for run in "cpu cpu float32 true" "device $DEVICE float32 true" "again $DEVICE float32 true" \
        "bf16 $DEVICE bfloat16 true" "bf16-again $DEVICE bfloat16 true" "fast $DEVICE bfloat16 false"; do
        # shellcheck disable=SC2086
        train $run &
        # One has the CPU, and the others a GPU.
        [ "$DEVICE" = cuda ] || wait
    done
    wait
}

conformance() {
    say "the collectives' conformance suite"
    local environment=(-x CONVOY_TEST_RANKS="$rank_count" -x OMP_NUM_THREADS=1)
    if [ "$DEVICE" = cuda ]; then
        environment+=(-x CONVOY_TEST_ON_GPU=1 -x CONVOY_TEST_OVER_NCCL=1)
    fi
    if mpirun_n "$rank_count" "${environment[@]}" "$suite" --exact conforms --nocapture --test-threads 1 \
        >"$results/conformance.log" 2>&1; then
        echo "passed on $rank_count${nccl:+, $nccl}" >"$results/conformance"
    else
        echo "FAILED on $rank_count${nccl:+, $nccl}" >"$results/conformance"
        tail -30 "$results/conformance.log"
    fi
}

# Two ranks: the same losses by both exchanges, and the end of all when one of them stops or dies.
ranks() {
    say "two ranks"
    rm -f "$results/ranks"
    if [ "$rank_count" = 1 ]; then
        echo "left out: two ranks on one GPU need an NCCL of 2.30 or newer (NCCL=FILE), and here is $nccl" | tee "$results/ranks"
        return
    fi
    local zero
    for zero in 0 1; do
        configure "ranks-zero$zero" "$DEVICE" float32 true
        cat >>"$results/ranks-zero$zero.toml" <<TOML
[parallel]
zero = $zero
bucket_bytes = 1048576
TOML
        mpirun_n 2 "$worker" train --config "$results/ranks-zero$zero.toml" >"$results/ranks-zero$zero.log" 2>&1 &&
            keep_losses "ranks-zero$zero" || tail -5 "$results/ranks-zero$zero.log"
    done
    ends_after STOP
    ends_after KILL
}

# ends_after SIGNAL: one of two ranks gets it in the middle of training.
ends_after() {
    local name=ranks-$1 code=0
    configure "$name" "$DEVICE" bfloat16 false
    sed -i 's/^max_steps = .*/max_steps = 1000000/' "$results/$name.toml"
    printf '[parallel]\ntimeout_s = 5\n[storage]\ndeadline_s = 2\n' >>"$results/$name.toml"
    mpirun_n 2 --timeout 120 "$worker" train --config "$results/$name.toml" >"$results/$name.log" 2>&1 &
    local job=$! waited=0
    until grep -q 'step 20/' "$results/$name.log" || ! kill -0 "$job" 2>/dev/null || [ $((waited++)) -gt 120 ]; do sleep 0.5; done
    if ! grep -q 'step 20/' "$results/$name.log"; then
        echo "FAILED: it did not come to step 20" >"$results/$name"
        pkill -KILL -f "train --config $results/$name.toml" || true
        return
    fi
    pkill "-$1" -n -f "train --config $results/$name.toml" || true
    SECONDS=0
    wait "$job" || code=$?
    echo "exit $code after $SECONDS s" >"$results/$name"
    grep -E 'did not end|rank .:' "$results/$name.log" | tail -5 || true
    pkill -KILL -f "train --config $results/$name.toml" && echo ", with a rank left over" >>"$results/$name" || true
}

# Convoy's own kernels beside libtorch's operations.
kernels() {
    say "kernels"
    local environment=()
    if [ "$DEVICE" = cuda ]; then environment+=(CONVOY_TEST_ON_GPU=1); fi
    if env "${environment[@]}" "$bundle/bin/units" kernels --test-threads 1 >"$results/kernels.log" 2>&1; then
        echo "passed on $DEVICE" >"$results/kernels"
    else
        echo "FAILED on $DEVICE" >"$results/kernels"
        tail -30 "$results/kernels.log"
    fi
}

# name, then arguments of bench-step and of its peer
speed() {
    local name=$1 sizes=("${@:2}")
    say "speed: $name"
    rm -f "$results/ours-$name.json" "$results/peer-$name.json"
    local settings=(--set "run.device=$DEVICE" --set train.precision=bfloat16)
    "$worker" bench-step "${sizes[@]}" --steps "$STEPS" "${settings[@]}" >"$results/ours-$name.json" 2>"$results/log" ||
        { echo '{}' >"$results/ours-$name.json"; tail -5 "$results/log"; }
    cat "$results/ours-$name.json"
    if [ "$PEER" = no ]; then
        echo '{"left_out": "not asked for"}' | tee "$results/peer-$name.json"
        return
    elif ! "$PYTHON" -c 'import torch' 2>/dev/null; then
        echo "{\"left_out\": \"$PYTHON has no torch\"}" | tee "$results/peer-$name.json"
        return
    fi
    "$PYTHON" benches/pytorch_gpt2.py "${sizes[@]}" --steps "$STEPS" --device "$DEVICE" --bfloat16 --compile \
        >"$results/peer-$name.json" 2>"$results/log" || { echo '{}' >"$results/peer-$name.json"; tail -5 "$results/log"; }
    cat "$results/peer-$name.json"
}

table() {
    say "table"
    "$PYTHON" scripts/gpu_check_table.py "$results" "$PEAK_FLOPS" "$DEVICE"
}

check() {
    case $1 in
    kernels | losses) "$1" ;;
    conformance | ranks)
        if [ "$DEVICE" = cuda ] && [ -z "$nccl" ]; then find_nccl; fi
        "$1"
        ;;
    124m) speed 124m --model gpt2-124m --batch 64 --sequence 1024 ;;
    1558m) speed 1558m --model gpt2-1558m --batch 16 --sequence 1024 ;;
    1558m-large) PEER=no STEPS=6 speed 1558m-large --model gpt2-1558m --batch 128 --micro 32 --sequence 1024 ;;
    tiny) speed tiny --model tiny-cpu --batch 4 --sequence 64 ;;
    *) fail "there is no check \"$1\"" ;;
    esac
}

if [ "${1:-}" = bundle ]; then
    make_bundle
    exit
fi
find_programs
if [ $# -eq 0 ]; then
    case $DEVICE in
    cuda) set -- kernels losses conformance ranks 124m 1558m ;;
    *) set -- kernels losses conformance ranks tiny ;;
    esac
fi
finish() {
    local code=$?
    table || code=1
    if [ -z "${RESULTS:-}" ]; then rm -rf "$results"; fi
    exit "$code"
}
# A check that is cut short has a table of what there is, too.
trap finish EXIT
for name in "$@"; do check "$name"; done
