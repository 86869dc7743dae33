# shellcheck shell=sh
# Sourced, by any POSIX shell, before anything is built: says where libtorch is. scripts/setup puts it there.
#
#   . scripts/env.sh && cargo build --release --workspace

CONVOY_CACHE="${CONVOY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/convoy}"
LIBTORCH="$CONVOY_CACHE/libtorch-2.11.0/view"
export CONVOY_CACHE LIBTORCH
# Where scripts/setup has unpacked one for the tests.
if [ -x "$CONVOY_CACHE/sshd/usr/sbin/sshd" ]; then
    CONVOY_SSHD="$CONVOY_CACHE/sshd/usr/sbin/sshd"
    export CONVOY_SSHD
fi
