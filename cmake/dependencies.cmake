# Everything comes from Debian's packages; tools/install_packages.sh installs them.
find_package(PkgConfig REQUIRED)
find_package(OpenMP REQUIRED)
find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(ZLIB REQUIRED)
pkg_check_modules(VIPS REQUIRED IMPORTED_TARGET vips)
pkg_check_modules(CAIRO REQUIRED IMPORTED_TARGET cairo)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
pkg_check_modules(HWY REQUIRED IMPORTED_TARGET libhwy)
pkg_check_modules(TOMLPP REQUIRED IMPORTED_TARGET tomlplusplus)

# oneDNN and LibTorch come without usable pkg-config files; LibTorch's CMake package asks for packages it does not need.
find_library(DNNL_LIBRARY dnnl REQUIRED)
add_library(PkgConfig::DNNL INTERFACE IMPORTED)
set_target_properties(PkgConfig::DNNL PROPERTIES INTERFACE_LINK_LIBRARIES ${DNNL_LIBRARY})

find_library(TORCH_LIBRARY torch REQUIRED)
find_library(TORCH_CPU_LIBRARY torch_cpu REQUIRED)
find_library(C10_LIBRARY c10 REQUIRED)
find_path(TORCH_INCLUDE ATen/ATen.h REQUIRED)
add_library(vlm_aten INTERFACE)
target_include_directories(vlm_aten SYSTEM INTERFACE ${TORCH_INCLUDE} ${TORCH_INCLUDE}/torch/csrc/api/include)
target_link_libraries(vlm_aten INTERFACE ${TORCH_CPU_LIBRARY} ${C10_LIBRARY})

if(VLM_TESTS)
  find_package(GTest REQUIRED)
endif()
