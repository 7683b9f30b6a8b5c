# What `vlm bench` says of itself: the commit, written anew whenever there is another.
set(commit_source ${CMAKE_BINARY_DIR}/generated/commit.cc)
set(commit_log "")
if(EXISTS ${CMAKE_SOURCE_DIR}/.git/logs/HEAD)
  set(commit_log ${CMAKE_SOURCE_DIR}/.git/logs/HEAD)
endif()
add_custom_command(
  OUTPUT ${commit_source}
  COMMAND ${CMAKE_COMMAND} -DSOURCE=${CMAKE_SOURCE_DIR} -DOUTPUT=${commit_source} -P ${CMAKE_SOURCE_DIR}/cmake/commit.cmake
  DEPENDS ${commit_log} ${CMAKE_SOURCE_DIR}/cmake/commit.cmake
  COMMENT "Noting the commit"
  VERBATIM)

# bench/: products and attention side by side with the tensor library and, where it is installed, oneDNN. Built on
# demand: cmake --build build --target bench_kernels.
find_path(DNNL_INCLUDE oneapi/dnnl/dnnl.hpp)
set(onednn_source ${CMAKE_SOURCE_DIR}/bench/onednn_absent.cc)
if(DNNL_INCLUDE AND DNNL_LIBRARY)
  set(onednn_source ${CMAKE_SOURCE_DIR}/bench/onednn.cc)
endif()
add_executable(bench_kernels EXCLUDE_FROM_ALL ${CMAKE_SOURCE_DIR}/bench/kernels.cc ${onednn_source} ${commit_source})
target_include_directories(bench_kernels PRIVATE ${CMAKE_SOURCE_DIR})
target_link_libraries(bench_kernels PRIVATE vlm_ops nlohmann_json::nlohmann_json)
if(DNNL_INCLUDE AND DNNL_LIBRARY)
  target_link_libraries(bench_kernels PRIVATE ${DNNL_LIBRARY})
endif()
target_compile_options(bench_kernels PRIVATE -fPIC)  # as the precompiled header was made
set_target_properties(bench_kernels PROPERTIES OUTPUT_NAME kernels RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bench)

# bench/media_bench.cc: pictures to tensors, beside libjpeg alone. Built on demand where libbenchmark-dev is installed:
# cmake --build build --target media_bench.
find_package(benchmark QUIET)
if(benchmark_FOUND)
  add_executable(media_bench EXCLUDE_FROM_ALL ${CMAKE_SOURCE_DIR}/bench/media_bench.cc)
  target_link_libraries(media_bench PRIVATE vlm_parts benchmark::benchmark)
  target_compile_options(media_bench PRIVATE -fPIC)  # as the precompiled header was made
  target_precompile_headers(media_bench REUSE_FROM vlm_tensor)
  set_target_properties(media_bench PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bench)
endif()
