#!/usr/bin/env bash
# fuzz/run.sh SECONDS [TARGET...]: each target (default: all) for so long, one after the other.
#
# Needs nightly and cargo-fuzz (cargo install cargo-fuzz). What fails is left in fuzz/artifacts/TARGET: copy
# it to tests/fuzzed/TARGET, where cargo test runs it on every machine.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:?usage: fuzz/run.sh SECONDS [TARGET...]}
shift
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    mapfile -t targets < <(cargo +nightly fuzz list)
fi
# Directories on memory, if there is such a place: a disk would be most of the time.
if [ -z "${LAYERSTACK_TEST_DIR:-}" ] && [ -d /dev/shm ]; then
    export LAYERSTACK_TEST_DIR=/dev/shm
fi
failed=()
for target in "${targets[@]}"; do
    printf '\n== %s: %s s\n' "$target" "$seconds"
    cargo +nightly fuzz run "$target" -- -max_total_time="$seconds" -max_len=1024 -rss_limit_mb=2048 \
        -timeout=30 -print_funcs=0 -print_final_stats=1 -verbosity=0 || failed+=("$target")
done
if [ ${#failed[@]} -gt 0 ]; then
    echo "failed: ${failed[*]}" >&2
    exit 1
fi
