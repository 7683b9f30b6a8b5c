#!/usr/bin/env bash
# The kernels' unit tests, compiled for 64-bit ARM and run by qemu: with NEON alone, with its dot
# products, and with its 8-bit matrix products.
#   tests/arm.sh [BUILD FOLDER]
# Without a cross compiler (g++-aarch64-linux-gnu), qemu-aarch64 (qemu-user) or GoogleTest's sources (googletest) it says so and
# succeeds. Correctness only: qemu's speed says nothing about a processor's.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build-arm}
compiler=${ARM_CXX:-aarch64-linux-gnu-g++}
gtest=/usr/src/googletest/googletest
for tool in "$compiler" qemu-aarch64; do
  command -v "$tool" > /dev/null || { echo "skipped: no $tool"; exit 0; }
done
[ -d "$gtest" ] || { echo "skipped: no $gtest"; exit 0; }

# Headers that do not depend on the machine, without the rest of /usr/include, which does.
mkdir -p "$build/include"
ln -sfn /usr/include/hwy "$build/include/hwy"
ln -sfn /usr/include/fmt "$build/include/fmt"
flags="-std=c++20 -O2 -fopenmp -DFMT_HEADER_ONLY -Wall -Wextra -Werror -Wno-psabi -Isrc -Iinclude -isystem $build/include
  -isystem $gtest/include"

sources=(src/base/{parallel,half,error,log}.cc src/kernels/{cpu,quantised,few_rows_dense,few_rows_quantised,many_rows_dense,many_rows_quantised,many_rows_rotated}.cc
  src/kernels/{product,outlier,quantised}_test.cc)

status=0
for features in armv8-a armv8.2-a+dotprod armv8.2-a+dotprod+i8mm; do
  objects=()
  : > "$build/todo"
  mkdir -p "$build/$features"
  newest=$(ls -t src/{base,kernels}/*.h | head -n 1)
  for source in "${sources[@]}" "$gtest"/src/gtest{-all,_main}.cc; do
    object=$build/$features/$(basename "$source").o
    objects+=("$object")
    [ "$object" -nt "$source" ] && [ "$object" -nt "$newest" ] || printf '%s\0%s\0' "$source" "$object" >> "$build/todo"
  done
  xargs -0 -r -n2 -P"$(nproc)" sh -c "$compiler ${flags//$'\n'/ } -march=$features -I$gtest -c \$0 -o \$1" < "$build/todo"
  "$compiler" -fopenmp -o "$build/$features/kernels_test" "${objects[@]}"
  echo "== kernels_test, $features"
  OMP_NUM_THREADS=2 qemu-aarch64 -cpu max -L /usr/aarch64-linux-gnu "$build/$features/kernels_test" --gtest_brief=1 || status=1
done
exit $status
