#!/usr/bin/env bash
# Run the tests with the instructions of three generations of x86-64 processors, each with 1 and
# with 2 threads. Takes arguments of pytest; without any, the whole suite runs.
#
#     tests/instruction_sets.sh tests/unit/test_agents.py
#
# MKL obeys MKL_ENABLE_INSTRUCTIONS on processors of Intel alone; elsewhere it chooses by itself
# unless MKL_CBWR is COMPATIBLE, which restricts it to SSE2 everywhere.
cd "$(dirname "$0")/.." || exit
[ $# -gt 0 ] || set -- -n 2 --dist loadfile

avx2=(
    MKL_ENABLE_INSTRUCTIONS=AVX2 ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2
    OPENBLAS_CORETYPE=Haswell NPY_DISABLE_CPU_FEATURES="X86_V4 AVX512_ICL AVX512_SPR"
    NUMBA_CPU_NAME=haswell NUMBA_CPU_FEATURES=+avx2,+fma,+avx,+bmi,+bmi2,+popcnt,+lzcnt,+sse4.2
)
sse=(
    MKL_CBWR=COMPATIBLE ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41
    OPENBLAS_CORETYPE=Nehalem NPY_DISABLE_CPU_FEATURES="X86_V3 X86_V4 AVX512_ICL AVX512_SPR"
    NUMBA_CPU_NAME=generic NUMBA_CPU_FEATURES=
)
failed=0
cache=$(mktemp -d)
trap 'rm -rf "$cache"' EXIT

# Usage: run SET THREADS [NAME=VALUE...] -- [ARGUMENT...]
run() {
    local name=$1 threads=$2 settings=() code
    shift 2
    while [ "$1" != -- ]; do settings+=("$1") && shift; done
    shift
    env NUMBA_CACHE_DIR="$cache/$name" OMP_NUM_THREADS="$threads" MKL_NUM_THREADS="$threads" \
        OPENBLAS_NUM_THREADS="$threads" "${settings[@]}" python -m pytest -q "$@"
    code=$?
    [ $code = 0 ] || failed=1
    echo "instructions: $name, threads: $threads, exit status of pytest: $code"
}

for threads in 1 2; do
    run native $threads -- "$@"
    run avx2 $threads "${avx2[@]}" -- "$@"
    run sse $threads "${sse[@]}" -- "$@"
done
exit $failed
