#include "media/jpeg.h"

#include <csetjmp>
#include <cstdio>  // jpeglib.h needs it

#include <jpeglib.h>

namespace vlm {
namespace {

constexpr int most_scans = 256;  // a few bytes of each cost a pass over the picture
constexpr JDIMENSION most_rows = 4;

}  // namespace

struct JpegRows::State {
  jpeg_decompress_struct decoder{};
  jpeg_error_mgr errors{};
  jpeg_source_mgr source{};
  jpeg_progress_mgr progress{};
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX] = "";
  bool is_made = false;

  // libjpeg reports errors by functions that must not return, so they jump; between setjmp and here nothing
  // may need a destructor.
  [[noreturn]] static void leave(j_common_ptr decoder) {
    State& state = *static_cast<State*>(decoder->client_data);
    (*decoder->err->format_message)(decoder, state.message);
    std::longjmp(state.jump, 1);
  }
  [[noreturn]] static void leave(State& state, const char* message) {
    std::snprintf(state.message, sizeof state.message, "%s", message);
    std::longjmp(state.jump, 1);
  }
  static State& of(j_decompress_ptr decoder) { return *static_cast<State*>(decoder->client_data); }
  // All bytes are there from the start: who asks for more has a file that was cut off.
  static boolean fail_at_end(j_decompress_ptr decoder) { leave(of(decoder), "premature end of JPEG file"); }
  static void skip(j_decompress_ptr decoder, long count) {  // NOLINT: libjpeg's type
    if (count <= 0) return;
    if (static_cast<size_t>(count) > decoder->src->bytes_in_buffer) fail_at_end(decoder);
    decoder->src->next_input_byte += count;
    decoder->src->bytes_in_buffer -= static_cast<size_t>(count);
  }
  static void count_scans(j_common_ptr decoder) {
    if (reinterpret_cast<j_decompress_ptr>(decoder)->input_scan_number > most_scans)
      leave(*static_cast<State*>(decoder->client_data), "too many scans");
  }
};

JpegRows::JpegRows(std::span<const std::byte> bytes) : state_(std::make_unique<State>()) {
  State& state = *state_;
  state.decoder.err = jpeg_std_error(&state.errors);
  state.errors.error_exit = State::leave;
  state.errors.emit_message = [](j_common_ptr, int) {};
  state.decoder.client_data = &state;
  state.source.next_input_byte = reinterpret_cast<const JOCTET*>(bytes.data());
  state.source.bytes_in_buffer = bytes.size();
  state.source.init_source = [](j_decompress_ptr) {};
  state.source.fill_input_buffer = State::fail_at_end;
  state.source.skip_input_data = State::skip;
  state.source.resync_to_restart = jpeg_resync_to_restart;
  state.source.term_source = [](j_decompress_ptr) {};
  state.progress.progress_monitor = State::count_scans;
}

JpegRows::~JpegRows() {
  if (state_->is_made) jpeg_destroy_decompress(&state_->decoder);
}

bool JpegRows::begin(int64_t height, int64_t width) {
  State& state = *state_;
  if (setjmp(state.jump) != 0) return false;
  jpeg_create_decompress(&state.decoder);  // keeps err and client_data
  state.is_made = true;
  state.decoder.src = &state.source;
  state.decoder.progress = &state.progress;
  jpeg_read_header(&state.decoder, TRUE);
  state.decoder.out_color_space = JCS_RGB;
  jpeg_start_decompress(&state.decoder);
  if (state.decoder.output_height == static_cast<JDIMENSION>(height) &&
      state.decoder.output_width == static_cast<JDIMENSION>(width) && state.decoder.output_components == 3)
    return true;
  std::snprintf(state.message, sizeof state.message, "its headers disagree");
  return false;
}

bool JpegRows::read(uint8_t* const* rows, int64_t count) {
  State& state = *state_;
  if (setjmp(state.jump) != 0) return false;
  const JDIMENSION end = state.decoder.output_scanline + static_cast<JDIMENSION>(count);
  const JDIMENSION first = state.decoder.output_scanline;
  while (state.decoder.output_scanline < end) {
    const JDIMENSION at = state.decoder.output_scanline;
    jpeg_read_scanlines(&state.decoder, const_cast<JSAMPARRAY>(rows + (at - first)),
                        end - at < most_rows ? end - at : most_rows);
  }
  return true;
}

const char* JpegRows::reason() const {
  return state_->message;
}

}  // namespace vlm
