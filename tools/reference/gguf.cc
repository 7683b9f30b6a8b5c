// Writes the files of tests/cases/weights/gguf with ggml's own library: types.gguf has every element type
// that is read here, expected.gguf what ggml expands them to.
//
// usage: gguf FOLDER      (compiled with ggml's headers against libggml-base; ggml d99724f was used)
#include <cstring>
#include <string>
#include <vector>

#include "ggml.h"
#include "gguf.h"

namespace {

constexpr int64_t kColumns = 256;
constexpr int64_t kRows = 2;

void add_metadata(gguf_context* file) {
  gguf_set_val_str(file, "general.architecture", "test");
  gguf_set_val_u8(file, "t.u8", 200);
  gguf_set_val_i8(file, "t.i8", -5);
  gguf_set_val_u16(file, "t.u16", 60000);
  gguf_set_val_i16(file, "t.i16", -3000);
  gguf_set_val_u32(file, "t.u32", 4000000000u);
  gguf_set_val_i32(file, "t.i32", -7);
  gguf_set_val_u64(file, "t.u64", uint64_t{1} << 40);
  gguf_set_val_i64(file, "t.i64", -(int64_t{1} << 40));
  gguf_set_val_f32(file, "t.f32", 0.5f);
  gguf_set_val_f64(file, "t.f64", 0.1);
  gguf_set_val_bool(file, "t.bool", true);
  const char* tokens[] = {"<s>", "hello", "", "\xc3\xa9"};
  gguf_set_arr_str(file, "tokenizer.ggml.tokens", tokens, 4);
  float scores[] = {0.0f, -1.5f, 2.0f};
  gguf_set_arr_data(file, "t.scores", GGUF_TYPE_FLOAT32, scores, 3);
  int32_t ids[] = {3, -4};
  gguf_set_arr_data(file, "t.ids", GGUF_TYPE_INT32, ids, 2);
  bool flags[] = {true, false};
  gguf_set_arr_data(file, "t.flags", GGUF_TYPE_BOOL, flags, 2);
  gguf_set_arr_data(file, "t.none", GGUF_TYPE_UINT64, ids, 0);
}

std::vector<float> random_values() {  // bell-shaped, with two outliers
  static uint64_t state = 1;
  std::vector<float> values(kColumns * kRows);
  for (float& value : values) {
    double sum = 0;
    for (int part = 0; part < 4; ++part) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      sum += static_cast<double>(state >> 40) / (1 << 24) - 0.5;
    }
    value = static_cast<float>(sum);
  }
  values[3] = 6;
  values[300] = -9;
  return values;
}

void add_floats(ggml_context* context, gguf_context* file, gguf_context* expected, ggml_type type) {
  std::vector<float> values = random_values();
  ggml_tensor* stored = ggml_new_tensor_2d(context, type, kColumns, kRows);
  ggml_tensor* expanded = ggml_new_tensor_2d(context, GGML_TYPE_F32, kColumns, kRows);
  if (type == GGML_TYPE_F32) {
    std::memcpy(stored->data, values.data(), values.size() * sizeof(float));
    std::memcpy(expanded->data, values.data(), values.size() * sizeof(float));
  } else {
    ggml_quantize_chunk(type, values.data(), stored->data, 0, kRows, kColumns, nullptr);
    ggml_get_type_traits(type)->to_float(stored->data, static_cast<float*>(expanded->data), kColumns * kRows);
  }
  ggml_set_name(stored, ggml_type_name(type));
  ggml_set_name(expanded, ggml_type_name(type));
  gguf_add_tensor(file, stored);
  gguf_add_tensor(expected, expanded);
}

template <typename Number>
void add_numbers(ggml_context* context, gguf_context* file, ggml_type type) {
  ggml_tensor* stored = ggml_new_tensor_2d(context, type, 3, 2);
  for (int idx = 0; idx < 6; ++idx) static_cast<Number*>(stored->data)[idx] = static_cast<Number>(idx - 2);
  ggml_set_name(stored, ggml_type_name(type));
  gguf_add_tensor(file, stored);
}

}  // namespace

int main(int, char** arguments) {
  ggml_context* context = ggml_init({64u << 20, nullptr, false});
  gguf_context* file = gguf_init_empty();
  gguf_context* expected = gguf_init_empty();
  add_metadata(file);
  for (ggml_type type : {GGML_TYPE_Q4_0, GGML_TYPE_Q4_1, GGML_TYPE_Q5_0, GGML_TYPE_Q5_1, GGML_TYPE_Q8_0,
                         GGML_TYPE_Q2_K, GGML_TYPE_Q3_K, GGML_TYPE_Q4_K, GGML_TYPE_Q5_K, GGML_TYPE_Q6_K,
                         GGML_TYPE_IQ4_NL, GGML_TYPE_IQ4_XS, GGML_TYPE_F16, GGML_TYPE_BF16, GGML_TYPE_F32})
    add_floats(context, file, expected, type);
  add_numbers<int8_t>(context, file, GGML_TYPE_I8);
  add_numbers<int16_t>(context, file, GGML_TYPE_I16);
  add_numbers<int32_t>(context, file, GGML_TYPE_I32);
  add_numbers<int64_t>(context, file, GGML_TYPE_I64);
  add_numbers<double>(context, file, GGML_TYPE_F64);
  std::string folder = arguments[1];
  gguf_write_to_file(file, (folder + "/types.gguf").c_str(), false);
  gguf_write_to_file(expected, (folder + "/expected.gguf").c_str(), false);
}
