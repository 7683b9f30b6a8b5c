// Speculative decoding: whatever is guessed, the answer is the one without guesses.
#include <gtest/gtest.h>

#include "engine/case.h"
#include "engine/decode.h"
#include "engine/draft.h"
#include "engine/load.h"
#include "engine/session.h"
#include "engine/verify.h"
#include "media/image.h"

namespace vlm {
namespace {

namespace fs = std::filesystem;

struct Model {
  LoadedModel loaded;
  const Generator* generator = nullptr;
  Prompt prompt;
  std::vector<Tensor> features;
  std::vector<int64_t> answer;  // the reference's
};

Model open(const fs::path& folder, Precision precision) {
  ReferenceCase reference = ReferenceCase::read(folder);
  Model model;
  WeightsOptions options;
  options.precision = precision;
  model.loaded = bind_model(reference.open_checkpoint(), options,
                            reference.system.starts_with("block-") ? "" : reference.system);
  model.generator = as<Generator>(*model.loaded.model);
  model.prompt = model.generator->prepare(reference.request);
  DecodeTimes times;
  model.features = encode_media(*model.generator, model.prompt, nullptr, times);
  model.answer = to_ids(reference.expected->load("generated_ids"));
  return model;
}

std::vector<fs::path> generate_cases() {
  std::vector<fs::path> chosen;
  for (const fs::path& folder : find_cases({VLM_SOURCE_DIR "/tests/cases"}))
    if (Json::read_file(folder / "case.json").at("task").as<std::string>() == "generate")
      chosen.push_back(folder);
  return chosen;
}

using Parameters = std::tuple<fs::path, Precision>;

class Speculation : public testing::TestWithParam<Parameters> {
 protected:
  Speculation() : model_(open(std::get<0>(GetParam()), std::get<1>(GetParam()))) {}

  DecodeResult run(int64_t guesses, ops::KvPrecision kv_precision = ops::KvPrecision::f32,
                   decltype(DecodeOptions::draft) draft = {}) {
    Memory memory;
    DecodeOptions options;
    options.max_new_tokens = 24;
    options.kv_precision = kv_precision;
    options.eos_ids = model_.generator->eos_ids();
    options.guesses = guesses;
    options.draft = std::move(draft);
    DecodeResult result = decode(*model_.generator, model_.prompt, memory, nullptr, options);
    if (!model_.generator->is_encoder_decoder()) {
      EXPECT_EQ(memory.sequence.cache.length(), static_cast<int64_t>(memory.ids.size()));
    }
    return result;
  }

  at::NoGradGuard no_grad_;
  Model model_;
};

// What makes it so: a pass over 2 to 8 tokens finds what as many passes over one find, to the bit.
TEST_P(Speculation, APassOverSeveralTokensIsThatOfEach) {
  for (ops::KvPrecision precision : {ops::KvPrecision::f32, ops::KvPrecision::f16, ops::KvPrecision::int8}) {
    Sequence sequence;
    sequence.cache.set_precision(precision);
    model_.generator->prefill(model_.prompt, model_.features, sequence, false);
    const int64_t length = sequence.cache.length();
    std::vector<int64_t> ids;
    for (int64_t idx = 0; idx <= kMostGuesses; ++idx)
      ids.push_back(model_.answer[static_cast<size_t>(idx) % model_.answer.size()]);
    std::vector<Tensor> rows;
    for (int64_t id : ids) rows.push_back(model_.generator->extend({{{id}, &sequence}}));
    for (size_t count = 2; count <= ids.size(); ++count) {
      sequence.cache.truncate(length);
      Tensor together =
          model_.generator->extend({{{ids.begin(), ids.begin() + static_cast<int64_t>(count)}, &sequence}});
      Tensor apart = at::cat(std::vector<Tensor>(rows.begin(), rows.begin() + static_cast<int64_t>(count)));
      EXPECT_TRUE(at::equal(together, apart))
          << count << " tokens, keys and values in " << ops::kv_precision_name(precision) << ", "
          << (together - apart).abs().max().item<double>();
    }
  }
}

TEST_P(Speculation, FindsTheSameAnswer) {
  const std::vector<int64_t> wanted = run(0).ids;
  for (int64_t guesses : {int64_t{1}, int64_t{3}, kMostGuesses}) {
    DecodeResult found = run(guesses);
    EXPECT_EQ(found.ids, wanted) << guesses;
    EXPECT_LE(found.times.tokens_accepted, found.times.tokens_guessed);
  }
}

// All right, all wrong, and right up to a place that moves.
TEST_P(Speculation, FindsTheSameAnswerWhateverIsGuessed) {
  const std::vector<int64_t> wanted = run(0).ids;
  const auto prompt = model_.prompt.ids.size();
  for (int64_t wrong_from : {0, 1, 2, 5, 100}) {
    int64_t guessed = 0;
    DecodeResult found =
        run(kMostGuesses, ops::KvPrecision::f32, [&](std::span<const int64_t> ids, int64_t count) {
          std::vector<int64_t> guess;
          for (size_t at = ids.size() - prompt; at < wanted.size() && count > 0; ++at, --count)
            guess.push_back(static_cast<int64_t>(guess.size()) < wrong_from ? wanted[at] : wanted[at] ^ 1);
          guessed += static_cast<int64_t>(guess.size());
          return guess;
        });
    EXPECT_EQ(found.ids, wanted) << "wrong from " << wrong_from;
    if (wrong_from == 0) {
      EXPECT_EQ(found.times.tokens_accepted, 0);
    } else if (wrong_from == 100) {
      EXPECT_EQ(found.times.tokens_accepted, found.times.tokens_guessed);
    }
    EXPECT_LE(found.times.tokens_guessed, guessed);
  }
}

TEST_P(Speculation, FindsTheSameAnswerWithSmallKeysAndValues) {
  for (ops::KvPrecision precision : {ops::KvPrecision::f16, ops::KvPrecision::int8})
    EXPECT_EQ(run(kMostGuesses, precision).ids, run(0, precision).ids) << ops::kv_precision_name(precision);
}

std::string test_name(const testing::TestParamInfo<Parameters>& info) {
  std::string name =
      std::get<0>(info.param).filename().string() + "_" + precision_name(std::get<1>(info.param));
  for (char& letter : name)
    if (!std::isalnum(static_cast<unsigned char>(letter))) letter = '_';
  return name;
}

INSTANTIATE_TEST_SUITE_P(All, Speculation,
                         testing::Combine(testing::ValuesIn(generate_cases()),
                                          testing::Values(Precision::f32, Precision::bf16, Precision::int8,
                                                          Precision::int4)),
                         test_name);

// --- a session

class SpeculatingSession : public testing::Test {
 protected:
  static void SetUpTestSuite() { loaded_ = load_model(VLM_SOURCE_DIR "/assets/default"); }
  static void TearDownTestSuite() { loaded_.reset(); }

  // The second question repeats the first: there is an answer to look up.
  static Request request() {
    Request request;
    request.images.push_back(read_image(VLM_SOURCE_DIR "/assets/samples/word.png"));
    request.messages.push_back(
        {"user", {{ContentPart::Kind::image, ""}, {ContentPart::Kind::text, "Describe the image."}}});
    request.messages.push_back(ChatMessage::text("assistant", "A brown ring and the text \"cage\" in red."));
    request.messages.push_back(ChatMessage::text("user", "Describe the image."));
    return request;
  }
  static Answer ask(const AnswerOptions& options,
                    const std::function<void(const std::string&)>& on_text = {}) {
    Session session(loaded_, nullptr);
    return session.answer(request(), options, on_text);
  }

  static std::shared_ptr<const LoadedModel> loaded_;
};
std::shared_ptr<const LoadedModel> SpeculatingSession::loaded_;

TEST_F(SpeculatingSession, AnswersTheSame) {
  AnswerOptions options;
  Answer wanted = ask(options);
  options.guesses = kMostGuesses;
  std::string streamed;
  Answer found = ask(options, [&](const std::string& text) { streamed += text; });
  EXPECT_EQ(found.ids, wanted.ids);
  EXPECT_EQ(found.text, wanted.text);
  EXPECT_EQ(streamed, wanted.text);
  EXPECT_EQ(found.finish, wanted.finish);
  EXPECT_EQ(found.times.tokens_generated, wanted.times.tokens_generated);
  EXPECT_GT(found.times.tokens_accepted, 0);
}

// An id is drawn from the same logits with the same chance, whether it was guessed or not.
TEST_F(SpeculatingSession, DrawsTheSame) {
  AnswerOptions options;
  options.max_new_tokens = 48;
  options.sampling.do_sample = true;
  options.sampling.temperature = 1.2;
  options.sampling.repetition_penalty = 1.1;
  for (uint64_t seed = 0; seed < 5; ++seed) {
    options.sampling.seed = seed;
    options.guesses = 0;
    Answer wanted = ask(options);
    options.guesses = kMostGuesses;
    EXPECT_EQ(ask(options).ids, wanted.ids) << seed;
  }
}

TEST_F(SpeculatingSession, StopsAtStringsAndAtItsLength) {
  AnswerOptions options;
  const Answer whole = ask(options);
  ASSERT_GT(whole.text.size(), 20u);
  for (int64_t length = 1; length < std::min<int64_t>(20, whole.times.tokens_generated); ++length) {
    options = {};
    options.max_new_tokens = length;
    options.guesses = kMostGuesses;
    Answer cut = ask(options);
    EXPECT_EQ(cut.ids, std::vector<int64_t>(whole.ids.begin(), whole.ids.begin() + length));
    EXPECT_EQ(cut.finish, Finish::length);
  }
  options = {};
  options.stop = {whole.text.substr(whole.text.size() / 2, 6)};
  Answer wanted = ask(options);
  options.guesses = kMostGuesses;
  Answer found = ask(options);
  EXPECT_EQ(found.text, wanted.text);
  EXPECT_EQ(found.ids, wanted.ids);
  EXPECT_EQ(found.finish, Finish::stopped);
}

TEST_F(SpeculatingSession, IsCancelledAndGoesOn) {
  Session session(loaded_, nullptr);
  const Answer whole = session.answer(request(), {});
  for (size_t most : {1, 10, 25}) {
    std::atomic<bool> cancel = false;
    AnswerOptions options;
    options.guesses = kMostGuesses;
    options.cancel = &cancel;
    std::string told;
    Answer cut = session.answer(request(), options, [&](const std::string& text) {
      told += text;
      if (told.size() >= most) cancel = true;
    });
    EXPECT_EQ(cut.finish, Finish::cancelled);
    EXPECT_TRUE(whole.text.starts_with(cut.text));
    // What was guessed and not said is forgotten: the same question is answered as before.
    EXPECT_EQ(session.answer(request(), {}).ids, whole.ids);
  }
}

TEST_F(SpeculatingSession, RefusesWhatCannotBe) {
  AnswerOptions options;
  options.guesses = kMostGuesses + 1;
  EXPECT_THROW(ask(options), Error);
  options.guesses = 1;
  options.num_beams = 2;
  EXPECT_THROW(ask(options), Error);
}

}  // namespace
}  // namespace vlm
