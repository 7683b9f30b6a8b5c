# What `make install` puts where besides program and library, what libvlm.so exports, and the examples.
include(CMakePackageConfigHelpers)

# --- the library as others see it, in this tree under the name that the package gives it
add_library(vlm::vlm ALIAS vlm_library)
target_include_directories(vlm_library INTERFACE ${CMAKE_SOURCE_DIR}/include)
target_link_options(vlm_library PRIVATE -Wl,--version-script=${CMAKE_SOURCE_DIR}/cmake/exports.map)
if(NOT VLM_SANITIZE)  # whose runtime is linked to programs alone
  target_link_options(vlm_library PRIVATE -Wl,-z,defs)
endif()
set_property(TARGET vlm_library APPEND PROPERTY LINK_DEPENDS ${CMAKE_SOURCE_DIR}/cmake/exports.map)

# --- headers, CMake package, pkg-config
install(DIRECTORY ${CMAKE_SOURCE_DIR}/include/vlm DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")

get_target_property(soversion vlm_library SOVERSION)
set(vlm_soname libvlm.so.${soversion})
set(vlm_library_file ${CMAKE_INSTALL_LIBDIR}/${vlm_soname})
set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/vlm)
configure_package_config_file(
  ${CMAKE_SOURCE_DIR}/cmake/vlmConfig.cmake.in ${CMAKE_BINARY_DIR}/generated/vlmConfig.cmake
  INSTALL_DESTINATION ${package_folder} PATH_VARS vlm_library_file CMAKE_INSTALL_INCLUDEDIR)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/generated/vlmConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/generated/vlmConfig.cmake ${CMAKE_BINARY_DIR}/generated/vlmConfigVersion.cmake
        DESTINATION ${package_folder})

file(RELATIVE_PATH vlm_prefix_from_pc /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" vlm_prefix_from_pc "${vlm_prefix_from_pc}")
configure_file(${CMAKE_SOURCE_DIR}/cmake/vlm.pc.in ${CMAKE_BINARY_DIR}/generated/vlm.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/generated/vlm.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# --- completions and manual, which the program writes itself
install(CODE "
  function(write_and_install folder name)
    execute_process(COMMAND \"$<TARGET_FILE:vlm_program>\" \${ARGN} OUTPUT_FILE \"${CMAKE_BINARY_DIR}/generated/\${name}\"
                    COMMAND_ERROR_IS_FATAL ANY)
    file(INSTALL \"${CMAKE_BINARY_DIR}/generated/\${name}\" DESTINATION \"\${CMAKE_INSTALL_PREFIX}/\${folder}\")
  endfunction()
  write_and_install(${CMAKE_INSTALL_DATADIR}/bash-completion/completions vlm completions bash)
  write_and_install(${CMAKE_INSTALL_DATADIR}/zsh/site-functions _vlm completions zsh)
  write_and_install(${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d vlm.fish completions fish)
  write_and_install(${CMAKE_INSTALL_MANDIR}/man1 vlm.1 manual)
")

# --- the shapes of published checkpoints, for `vlm bench --shapes`
install(DIRECTORY ${CMAKE_SOURCE_DIR}/manifests DESTINATION ${CMAKE_INSTALL_DATADIR}/vlm FILES_MATCHING PATTERN "*.json.gz")

# --- examples
if(VLM_TESTS)
  add_subdirectory(examples)
  set_target_properties(example_ask example_compare PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
endif()
