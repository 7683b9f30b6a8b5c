#!/usr/bin/env bash
# The whole test suite under AddressSanitizer and UndefinedBehaviorSanitizer, in a build folder of its own.
set -uo pipefail
cd "$(dirname "$0")/.."
build=${1:-build-asan}
cmake --preset sanitized -B "$build" > /dev/null || exit 1
# The libraries we stand on keep memory until the process ends; leaks are hunted in the fuzz targets instead.
# A test asks for more memory than there is, and wants to be told.
export ASAN_OPTIONS=detect_leaks=0:detect_odr_violation=0:allocator_may_return_null=1
exec tests/run.sh "$build"
