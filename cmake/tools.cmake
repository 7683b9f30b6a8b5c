# Programs for those who work on vlm; built on demand only.
add_executable(synthetic_checkpoint EXCLUDE_FROM_ALL ${CMAKE_SOURCE_DIR}/tools/synthetic_checkpoint.cc)
target_link_libraries(synthetic_checkpoint PRIVATE vlm_models vlm_engine vlm_train)
target_precompile_headers(synthetic_checkpoint REUSE_FROM vlm_tensor)
target_compile_options(synthetic_checkpoint PRIVATE -fPIC)  # as the precompiled header was made
set_target_properties(synthetic_checkpoint PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
