# Microbenchmarks: every src/<room>/*_bench.cc is a program of Google Benchmark. `include(cmake/bench.cmake)` behind
# the rooms in CMakeLists.txt; -DVLM_BENCH=ON builds them.
option(VLM_BENCH "build the microbenchmarks (needs libbenchmark-dev)" OFF)
if(VLM_BENCH)
  find_package(benchmark REQUIRED)
  file(GLOB_RECURSE bench_files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/*_bench.cc)
  foreach(file ${bench_files})
    get_filename_component(name ${file} NAME_WE)
    add_executable(${name} ${file})
    # Benchmarks compare with the tensor library, so all of them link it, whatever their room.
    target_link_libraries(${name} PRIVATE vlm_ops benchmark::benchmark_main)
    target_compile_options(${name} PRIVATE -fPIC)  # as the precompiled header was made
    target_precompile_headers(${name} REUSE_FROM vlm_tensor)
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bench)
  endforeach()
endif()
