# cmake -DCATALOG_DIR=<catalog> -DOUTPUT=<file.cc> -P embed_catalog.cmake
#
# Writes one C++ file that holds every card of the catalogue as a raw string literal, so that the program
# needs no files of its own at run time. catalogue.h declares what the file defines.
cmake_minimum_required(VERSION 3.22)

set(longest_literal 8000)  # some compilers refuse literals of 16 KB; neighbours are joined by the language

file(GLOB cards ${CATALOG_DIR}/*.toml)
list(SORT cards)
if(NOT cards)
  message(FATAL_ERROR "no cards (*.toml) in ${CATALOG_DIR}")
endif()

set(table "")
foreach(card IN LISTS cards)
  get_filename_component(slug "${card}" NAME)
  string(REGEX REPLACE "\\.toml$" "" slug "${slug}")  # not NAME_WE: slugs hold dots
  file(READ "${card}" text)
  if(text MATCHES "\\)card\"")
    message(FATAL_ERROR "${card} holds the end mark of the literal, )card\"")
  endif()
  string(APPEND table "    {\"${slug}\",")
  string(LENGTH "${text}" left)
  while(left GREATER 0)
    string(SUBSTRING "${text}" 0 ${longest_literal} piece)
    string(APPEND table "\nR\"card(${piece})card\"")
    if(left LESS_EQUAL longest_literal)
      break()
    endif()
    string(SUBSTRING "${text}" ${longest_literal} -1 text)
    string(LENGTH "${text}" left)
  endwhile()
  string(APPEND table "},\n")
endforeach()

file(WRITE "${OUTPUT}" "// Generated from catalog/*.toml by cmake/embed_catalog.cmake.
#include \"app/cli/catalogue.h\"

namespace vlm::cli {
namespace {

constexpr EmbeddedCard kCards[] = {
${table}};

}  // namespace

std::span<const EmbeddedCard> embedded_cards() { return kCards; }

}  // namespace vlm::cli
")
