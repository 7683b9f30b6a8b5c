# Programs for those who work on vlm; built on demand only.
foreach(tool synthetic_checkpoint precision_table published_sizes)
  add_executable(${tool} EXCLUDE_FROM_ALL ${CMAKE_SOURCE_DIR}/tools/${tool}.cc)
  target_link_libraries(${tool} PRIVATE vlm_models vlm_engine vlm_train)
  target_precompile_headers(${tool} REUSE_FROM vlm_tensor)
  target_compile_options(${tool} PRIVATE -fPIC)  # as the precompiled header was made
  set_target_properties(${tool} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
endforeach()
