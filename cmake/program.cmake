# Tests over the whole library; the unit tests beside the sources are made by vlm_room.
function(vlm_test name)
  add_executable(${name} ${CMAKE_SOURCE_DIR}/tests/${name}.cc)
  target_link_libraries(${name} PRIVATE vlm_models vlm_engine GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE VLM_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  target_precompile_headers(${name} REUSE_FROM vlm_tensor)
  set_property(GLOBAL APPEND PROPERTY VLM_UNIT_TESTS ${name})
endfunction()

if(VLM_TESTS)
  vlm_test(cases_test)
endif()
