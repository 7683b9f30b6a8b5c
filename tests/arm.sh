#!/usr/bin/env bash
# Unit tests of products and attention, and what the products' fuzzer keeps, compiled once for any 64-bit ARM and run by qemu on processors with NEON alone,
# with its dot products, and with its 8-bit matrix products.
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

sources=(src/base/{parallel,half,error,log}.cc
  src/kernels/{attention_few,attention_many,cpu,kv_rows,quantised,quantised_groups,few_rows_dense,few_rows_quantised,many_rows_dense,many_rows_quantised,many_rows_rotated,massive,roofs,tiles}.cc)
tests=(src/kernels/{attention,cpu,product,outlier,quantised,roofs}_test.cc "$gtest"/src/gtest{-all,_main}.cc)
replay=(src/kernels/products_fuzz.cc tests/fuzz/replay.cc)

newest=$(ls -t src/{base,kernels}/*.h | head -n 1)
objects() { printf "$build/%s.o\n" "${@##*/}"; }
for source in "${sources[@]}" "${tests[@]}" "${replay[@]}"; do
  object=$(objects "$source")
  [ "$object" -nt "$source" ] && [ "$object" -nt "$newest" ] || printf '%s\0%s\0' "$source" "$object"
done > "$build/todo"
xargs -0 -r -n2 -P"$(nproc)" sh -c "$compiler ${flags//$'\n'/ } -march=armv8-a -I$gtest -c \$0 -o \$1" < "$build/todo"
"$compiler" -fopenmp -o "$build/kernels_test" $(objects "${tests[@]}" "${sources[@]}")
"$compiler" -fopenmp -o "$build/products_replay" $(objects "${replay[@]}" "${sources[@]}")

# A processor, and the targets that it has. Attention is the same with all of them.
export OMP_NUM_THREADS=2
status=0
attention='*Attention*'
while read -r processor targets; do
  emulate="qemu-aarch64 -cpu $processor -L /usr/aarch64-linux-gnu"
  echo "== kernels_test, $processor: $targets"
  VLM_TEST_TARGETS=$targets $emulate "$build/kernels_test" --gtest_brief=1 --gtest_filter="-$attention" || status=1
  echo "== products corpus, $processor"
  $emulate "$build/products_replay" tests/fuzz/corpus/products || status=1
done << 'END'
cortex-a72 NEON
neoverse-n1 NEON_DOTPROD NEON
max NEON_I8MM NEON_DOTPROD NEON
END
echo "== attention, cortex-a72"
VLM_TEST_TARGETS=NEON qemu-aarch64 -cpu cortex-a72 -L /usr/aarch64-linux-gnu "$build/kernels_test" --gtest_brief=1 \
  --gtest_filter="$attention" || status=1
exit $status
