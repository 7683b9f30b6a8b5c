// What must hold for every reference case, whatever its numbers are.
#include <gtest/gtest.h>

#include <cstring>

#include "base/files.h"
#include "base/parallel.h"
#include "engine/case.h"
#include "engine/choices.h"
#include "engine/decode.h"
#include "engine/verify.h"
#include "ops/linear.h"
#include "system/gguf_checkpoint.h"
#include "train/save.h"

namespace vlm {
namespace {

namespace fs = std::filesystem;

// Orders of summation differ between the two sides of an invariant; nothing else may.
constexpr double kRounding = 2e-5;  // of the largest value

void expect_same(const Tensor& found, const Tensor& wanted, const char* what) {
  ASSERT_EQ(found.sizes(), wanted.sizes()) << what;
  double scale = std::max(wanted.abs().max().item<double>(), 1e-3);
  EXPECT_LE((found - wanted).abs().max().item<double>(), kRounding * scale) << what;
}

std::vector<fs::path> cases_of(std::initializer_list<const char*> tasks) {
  std::vector<fs::path> chosen;
  for (const fs::path& folder : find_cases({VLM_SOURCE_DIR "/tests/cases"})) {
    std::string task = Json::read_file(folder / "case.json").at("task").as<std::string>();
    for (const char* wanted : tasks)
      if (task == wanted) chosen.push_back(folder);
  }
  return chosen;
}

LoadedModel load(const ReferenceCase& reference, const WeightsOptions& options = {}) {
  return bind_model(reference.open_checkpoint(), options,
                    reference.system.starts_with("block-") ? "" : reference.system);
}

std::string test_name(const testing::TestParamInfo<fs::path>& info) {
  std::string name = info.param.filename().string();
  for (char& letter : name)
    if (!std::isalnum(static_cast<unsigned char>(letter))) letter = '_';
  return name;
}

// --- systems that generate

class Generating : public testing::TestWithParam<fs::path> {
 protected:
  Generating()
      : reference_(ReferenceCase::read(GetParam())),
        loaded_(load(reference_)),
        generator_(as<Generator>(*loaded_.model)) {
    prompt_ = generator_->prepare(reference_.request);
    DecodeTimes times;
    features_ = encode_media(*generator_, prompt_, nullptr, times);
    new_ids_ = to_ids(reference_.expected->load("generated_ids"));
  }
  Tensor full_logits() const {
    Sequence sequence;
    return generator_->prefill(prompt_, features_, sequence, true);
  }

  at::NoGradGuard no_grad_;
  ReferenceCase reference_;
  LoadedModel loaded_;
  const Generator* generator_;
  Prompt prompt_;
  std::vector<Tensor> features_;
  std::vector<int64_t> new_ids_;
};

TEST_P(Generating, CachedDecodingEqualsTheFullPass) {
  if (generator_->is_encoder_decoder()) {  // the decoder's own pass: the answer, behind the start token
    Sequence whole, steps;
    generator_->prefill(prompt_, features_, whole, true);
    Tensor wanted = generator_->extend({{new_ids_, &whole}});
    generator_->prefill(prompt_, features_, steps, true);
    std::vector<Tensor> rows;
    for (int64_t id : new_ids_) rows.push_back(generator_->extend({{{id}, &steps}}));
    expect_same(at::cat(rows), wanted, "one token at a time");
    return;
  }
  Prompt whole = prompt_;
  whole.ids.insert(whole.ids.end(), new_ids_.begin(), new_ids_.end());
  Sequence fresh;
  Tensor wanted = generator_->prefill(whole, features_, fresh, true)
                      .slice(0, static_cast<int64_t>(prompt_.ids.size()) - 1);
  Sequence sequence;
  std::vector<Tensor> rows{generator_->prefill(prompt_, features_, sequence, false)};
  for (int64_t id : new_ids_) rows.push_back(generator_->extend({{{id}, &sequence}}));
  expect_same(at::cat(rows), wanted, "one token at a time");
  sequence.cache.truncate(static_cast<int64_t>(prompt_.ids.size()));
  expect_same(generator_->extend({{new_ids_, &sequence}}), wanted.slice(0, 1),
              "several tokens at once, after truncation");
}

TEST_P(Generating, PrefixesAreReused) {
  Memory memory;
  DecodeOptions options;
  options.max_new_tokens = static_cast<int64_t>(new_ids_.size());
  DecodeResult first = decode(*generator_, prompt_, memory, nullptr, options);
  DecodeResult again = decode(*generator_, prompt_, memory, nullptr, options);
  EXPECT_EQ(first.ids, again.ids);
  EXPECT_EQ(first.times.tokens_reused, 0);
  // An encoder reads its prompt as a whole, every time.
  int64_t reusable = generator_->is_encoder_decoder() ? 0 : static_cast<int64_t>(prompt_.ids.size()) - 1;
  EXPECT_EQ(again.times.tokens_reused, reusable);
}

TEST_P(Generating, BatchOfTwoEqualsTwoSingles) {
  Sequence first, second;
  generator_->prefill(prompt_, features_, first, false);
  generator_->prefill(prompt_, features_, second, false);
  generator_->extend({{new_ids_, &second}});  // another length, other positions
  int64_t first_length = first.cache.length(), second_length = second.cache.length();
  int64_t first_id = new_ids_.front(), second_id = new_ids_.back();
  Tensor together = generator_->extend({{{first_id}, &first}, {{second_id}, &second}});
  first.cache.truncate(first_length), second.cache.truncate(second_length);
  Tensor apart =
      at::cat({generator_->extend({{{first_id}, &first}}), generator_->extend({{{second_id}, &second}})});
  expect_same(together, apart, "batch");
}

TEST_P(Generating, ChoicesAreTheProductOfTheirSteps) {
  std::vector<std::vector<int64_t>> answers{new_ids_, {new_ids_.back()}, {new_ids_.back(), new_ids_.front()}};
  std::vector<double> scores = score_choices(*generator_, prompt_, features_, answers);
  for (size_t idx = 0; idx < answers.size(); ++idx) {
    Sequence sequence;
    Tensor logits = generator_->prefill(prompt_, features_, sequence, false);
    double wanted = 0;
    for (int64_t id : answers[idx]) {
      wanted += at::log_softmax(logits[-1].to(at::kDouble), 0)[id].item<double>();
      logits = generator_->extend({{{id}, &sequence}});
    }
    EXPECT_NEAR(scores[idx], wanted, 1e-4 * std::max(1.0, -wanted)) << "answer " << idx;
  }
}

TEST_P(Generating, OneThreadEqualsTwo) {
  int threads = num_threads();
  set_num_threads(1);
  Tensor one = full_logits();
  set_num_threads(2);
  Tensor two = full_logits();
  set_num_threads(threads);
  expect_same(two, one, "threads");
}

TEST_P(Generating, KernelsOffEqualsOn) {
  Tensor on = full_logits();
  ops::set_kernels_enabled(false);
  Tensor off = full_logits();
  ops::set_kernels_enabled(true);
  expect_same(on, off, "kernels");
}

INSTANTIATE_TEST_SUITE_P(All, Generating, testing::ValuesIn(cases_of({"generate"})), test_name);

// --- encoders

class Encoding : public testing::TestWithParam<fs::path> {
 protected:
  Encoding() : reference_(ReferenceCase::read(GetParam())), loaded_(load(reference_)) {
    if (const auto* classifier = as<Classifier>(*loaded_.model)) {
      input_ = classifier->prepare_images(reference_.request.images);
      forward_ = [classifier](const Tensor& pixels) { return classifier->class_logits(pixels); };
    } else if (const auto* embedder = as<ImageEmbedder>(*loaded_.model)) {
      input_ = embedder->prepare_images(reference_.request.images);
      forward_ = [embedder](const Tensor& pixels) { return embedder->embed_images(pixels); };
    } else {
      const auto* texts = as<TextEmbedder>(*loaded_.model);
      input_ = texts->prepare_texts(reference_.texts);
      forward_ = [texts](const Tensor& ids) { return texts->embed_texts(ids); };
    }
  }

  at::NoGradGuard no_grad_;
  ReferenceCase reference_;
  LoadedModel loaded_;
  Tensor input_;
  std::function<Tensor(const Tensor&)> forward_;
};

TEST_P(Encoding, BatchEqualsSingles) {
  std::vector<Tensor> singles;
  for (int64_t idx = 0; idx < input_.size(0); ++idx) singles.push_back(forward_(input_.narrow(0, idx, 1)));
  expect_same(forward_(input_), at::cat(singles), "batch");
}

TEST_P(Encoding, OneThreadEqualsTwo) {
  int threads = num_threads();
  set_num_threads(1);
  Tensor one = forward_(input_);
  set_num_threads(2);
  Tensor two = forward_(input_);
  set_num_threads(threads);
  expect_same(two, one, "threads");
}

TEST_P(Encoding, KernelsOffEqualsOn) {
  Tensor on = forward_(input_);
  ops::set_kernels_enabled(false);
  Tensor off = forward_(input_);
  ops::set_kernels_enabled(true);
  expect_same(on, off, "kernels");
}

INSTANTIATE_TEST_SUITE_P(All, Encoding, testing::ValuesIn(cases_of({"embed", "classify", "score"})),
                         test_name);

// --- saving

class Saving : public testing::TestWithParam<fs::path> {};

TEST_P(Saving, ThenLoadingIsBitIdentical) {
  ReferenceCase reference = ReferenceCase::read(GetParam());
  LoadedModel loaded = load(reference);
  fs::path copy = fs::temp_directory_path() / ("vlm_saved_" + GetParam().filename().string());
  fs::remove_all(copy);
  if (is_gguf_checkpoint(loaded.checkpoint.folder)) {
    EXPECT_THROW(save_model(loaded, copy, at::kFloat), Error);
    return;
  }
  save_model(loaded, copy, at::kFloat);
  auto before = loaded.checkpoint.source, after = open_weights(copy);
  // Every name of the published files is there again, used or not, with the same bits.
  ASSERT_EQ(after->names(), before->names());
  for (const std::string& name : before->names()) {
    Tensor wanted = before->load(name), found = after->load(name);
    EXPECT_TRUE(at::equal(found.to(wanted.scalar_type()), wanted)) << name;
  }
  EXPECT_NO_THROW(
      bind_model(Checkpoint::open(copy), {}, reference.system.starts_with("block-") ? "" : reference.system));
  fs::remove_all(copy);
}

INSTANTIATE_TEST_SUITE_P(All, Saving, testing::ValuesIn(cases_of({"generate", "embed", "classify", "score"})),
                         test_name);

// --- the verifier itself

TEST(Verify, NoticesAWrongNumber) {
  fs::path copy = fs::temp_directory_path() / "vlm_invariants_case";
  fs::remove_all(copy);
  fs::copy(fs::path(VLM_SOURCE_DIR) / "tests/cases/vit-a", copy, fs::copy_options::recursive);
  ASSERT_TRUE(verify_case(copy).passed());
  // One weight of the classifier's bias changes by 1: its class must be found wrong, with its place.
  fs::path weights = copy / "checkpoint" / "model.safetensors";
  auto source = open_safetensors(weights);
  int64_t value_bytes = 4;
  std::string bytes = read_text(weights);
  Tensor bias = source->load("classifier.bias");
  std::string stored(reinterpret_cast<const char*>(bias.data_ptr()),
                     static_cast<size_t>(bias.numel() * value_bytes));
  size_t at = bytes.find(stored);
  ASSERT_NE(at, std::string::npos);
  float changed = bias[2].item<float>() + 1;
  source.reset();
  std::memcpy(bytes.data() + at + 2 * static_cast<size_t>(value_bytes), &changed, sizeof changed);
  write_text(weights, bytes);
  CaseReport report = verify_case(copy);
  EXPECT_FALSE(report.passed());
  ASSERT_EQ(report.checks.size(), 3u);
  EXPECT_TRUE(report.checks[0].passed);
  EXPECT_FALSE(report.checks[1].passed);
  EXPECT_NEAR(report.checks[1].largest_error, 1, 1e-3);
  EXPECT_NE(report.checks[1].detail.find(", 2]"), std::string::npos) << report.checks[1].detail;
  fs::remove_all(copy);
}

}  // namespace
}  // namespace vlm
