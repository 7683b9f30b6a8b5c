#include "engine/bench.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <optional>
#include <random>
#include <span>

#include "base/files.h"
#include "base/log.h"
#include "base/parallel.h"
#include "engine/decode.h"

namespace vlm {

namespace {

namespace fs = std::filesystem;

constexpr double kLongRow_seconds = 12;                     // a row is not repeated beyond that
constexpr int64_t kFilledTokens = 64;                       // computed; a longer context repeats them
constexpr int64_t kLargeHeight = 3000, kLargeWidth = 4000;  // the 12 megapixels of a telephone's camera
constexpr double kMostOfMemory = 0.8;                       // what a row may take of the memory that is free
constexpr char kText[] =
    "A reader who knows the harbour would begin at the left: two boats lie at the quay, one of them red, and "
    "a "
    "man in a yellow coat mends a net between them. Behind the roofs stands a church whose clock shows ten "
    "past four.";

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

int64_t status_kilobytes(const std::string& key) {
  std::ifstream stream("/proc/self/status");
  for (std::string line; std::getline(stream, line);)
    if (line.starts_with(key)) return std::strtoll(line.c_str() + key.size() + 1, nullptr, 10);
  return 0;
}

double free_bytes() {
  std::ifstream stream("/proc/meminfo");
  for (std::string line; std::getline(stream, line);)
    if (line.starts_with("MemAvailable:")) return 1024 * std::strtod(line.c_str() + 13, nullptr);
  return 1e18;
}

// Runs `body` once counting, which also warms it up, then up to `repeat` times measuring.
void measure(BenchRow& row, int64_t repeat, const std::function<void()>& body) {
  forget_peak();
  row.threads = num_threads();
  double start = now(), first;
  {
    tally::Count count;
    body();
    first = now() - start;
    row.work = count.work(), row.profile = count.entries(), row.shapes = count.shapes();
    row.profiled_seconds = first;
  }
  // Counting costs nothing that could be seen in a run of seconds.
  if (first > kLongRow_seconds / 2) row.seconds.push_back(first);
  double spent = first;
  for (int64_t run = 0; run < repeat && (row.seconds.empty() || spent < kLongRow_seconds); ++run) {
    start = now();
    body();
    row.seconds.push_back(now() - start);
    spent += row.seconds.back();
  }
  row.peak_bytes = peak_resident_bytes();
}

std::vector<std::byte> jpeg_of(const Image& image) {
  fs::path file = fs::temp_directory_path() / fmt::format("vlm-bench-{}.jpg", ::getpid());
  write_jpeg(file, image);
  std::string bytes = read_text(file);
  std::error_code ignored;
  fs::remove(file, ignored);
  auto span = std::as_bytes(std::span(bytes));
  return {span.begin(), span.end()};
}

class Bench {
 public:
  Bench(const LoadedModel& loaded, const BenchOptions& options,
        const std::function<void(const BenchRow&)>& on_row)
      : loaded_(loaded),
        options_(options),
        on_row_(on_row),
        jpeg_(jpeg_of(bench_picture(options.picture_height, options.picture_width))) {}

  std::vector<BenchRow> run() {
    if (const auto* generator = as<Generator>(*loaded_.model)) {
      run_generator(*generator);
    } else if (const auto* embedder = as<ImageEmbedder>(*loaded_.model)) {
      run_tower([&](const std::vector<Image>& images) { return embedder->prepare_images(images); },
                [&](const Tensor& pixels) { return embedder->embed_images(pixels); });
    } else if (const auto* classifier = as<Classifier>(*loaded_.model)) {
      run_tower([&](const std::vector<Image>& images) { return classifier->prepare_images(images); },
                [&](const Tensor& pixels) { return classifier->class_logits(pixels); });
    } else {
      fail(ErrorKind::unsupported, "measure a system that answers, embeds or classifies",
           "{} ({}) takes no pictures and writes no text", loaded_.checkpoint.name, loaded_.system->slug);
    }
    return std::move(rows_);
  }

 private:
  bool wants(const char* stage) const { return options_.stages.empty() || options_.stages.count(stage) > 0; }

  Image picture() const { return decode_image(jpeg_, "the measured picture"); }

  void done(BenchRow row) {
    if (on_row_) on_row_(row);
    rows_.push_back(std::move(row));
  }

  // A photograph from its bytes to what the encoder takes, on one thread.
  void picture_row(const std::function<void(Image)>& prepare) {
    if (!wants("picture")) return;
    std::vector<std::byte> large = jpeg_of(bench_picture(kLargeHeight, kLargeWidth));
    BenchRow row{.stage = "picture",
                 .what = fmt::format("{} x {} JPEG, one thread", kLargeWidth, kLargeHeight),
                 .count = 1,
                 .unit = "pictures"};
    int threads = num_threads();
    set_num_threads(1);
    measure(row, options_.repeat, [&] { prepare(decode_image(large, "the measured picture")); });
    set_num_threads(threads);
    done(std::move(row));
  }

  void run_tower(const std::function<Tensor(const std::vector<Image>&)>& prepare,
                 const std::function<Tensor(const Tensor& pixels_B3HW)>& encode) {
    picture_row([&](Image image) { prepare({std::move(image)}); });
    if (!wants("encode")) return;
    for (int64_t batch : options_.batches) {
      Tensor pixels = prepare(std::vector<Image>(static_cast<size_t>(batch), picture()));
      BenchRow row{
          .stage = "encode",
          .what = fmt::format("{} of {} x {}", batch == 1 ? "a picture" : fmt::format("{} pictures", batch),
                              pixels.size(-1), pixels.size(-2)),
          .count = static_cast<double>(batch),
          .unit = "pictures",
          .batch = batch};
      measure(row, options_.repeat, [&] { encode(pixels); });
      done(std::move(row));
    }
  }

  // A prompt with the picture, or the reason that there is none.
  std::optional<Prompt> picture_prompt(const Generator& generator) const {
    Request request;
    request.images.push_back(picture());
    using Kind = ContentPart::Kind;
    request.messages.push_back({"user", {{Kind::image, ""}, {Kind::text, "What is this?"}}});
    try {
      return generator.prepare(request);
    } catch (const Error& error) {
      log(LogLevel::debug, "without pictures: {}", error.message());
      return std::nullopt;
    }
  }

  // With `tokens` ids: text behind what is there, or text alone where the picture's prompt is longer.
  Prompt prompt_of(int64_t tokens) const {
    Prompt prompt;
    auto wanted = static_cast<size_t>(tokens);
    if (picture_prompt_ && picture_prompt_->ids.size() <= wanted) prompt = *picture_prompt_;
    while (prompt.ids.size() < wanted) prompt.ids.push_back(text_ids_[prompt.ids.size() % text_ids_.size()]);
    return prompt;
  }

  void run_generator(const Generator& generator) {
    text_ids_ = loaded_.checkpoint.tokens().ids(kText, false);
    picture_prompt_ = picture_prompt(generator);
    if (picture_prompt_ && picture_prompt_->media.empty()) picture_prompt_.reset();
    if (picture_prompt_) {
      picture_row([&](Image image) {
        Request request;
        request.images.push_back(std::move(image));
        request.messages.push_back(
            {"user", {{ContentPart::Kind::image, ""}, {ContentPart::Kind::text, "?"}}});
        generator.prepare(request);
      });
      if (wants("encode")) encode_row(generator);
    }
    for (int64_t tokens : options_.prompt_tokens)
      if (wants("prefill")) prefill_row(generator, tokens);
    for (int64_t tokens : options_.prompt_tokens)
      if (wants("first-token")) first_token_row(generator, tokens);
    if (generator.is_encoder_decoder() || !wants("decode")) return;
    for (int64_t context : options_.contexts)
      for (int64_t batch : options_.batches) decode_row(generator, batch, context);
  }

  void encode_row(const Generator& generator) {
    const MediaInput& media = picture_prompt_->media.front();
    BenchRow row{.stage = "encode",
                 .what = fmt::format("a picture of {} x {}, {} tokens", options_.picture_width,
                                     options_.picture_height, media.rows),
                 .count = 1,
                 .unit = "pictures"};
    measure(row, options_.repeat, [&] { generator.encode(media); });
    done(std::move(row));
  }

  bool fits_context(const Generator& generator, BenchRow& row, int64_t tokens) {
    if (generator.is_encoder_decoder() || tokens < generator.max_positions()) return true;
    row.skipped = fmt::format("the model's context is {} tokens", generator.max_positions());
    done(row);
    return false;
  }

  void prefill_row(const Generator& generator, int64_t tokens) {
    BenchRow row{
        .stage = "prefill", .what = fmt::format("{} tokens", tokens), .unit = "tokens", .context = tokens};
    if (!fits_context(generator, row, tokens)) return;
    Prompt prompt = prompt_of(tokens);
    row.count = static_cast<double>(prompt.ids.size());
    DecodeTimes times;
    std::vector<Tensor> features = encode_media(generator, prompt, nullptr, times);
    measure(row, options_.repeat, [&] {
      Sequence sequence;
      sequence.cache.set_precision(loaded_.kv_precision);
      generator.prefill(prompt, features, sequence, /*all_rows=*/false);
    });
    done(std::move(row));
  }

  // All of it, from the picture's bytes to the first id.
  void first_token_row(const Generator& generator, int64_t tokens) {
    bool has_picture = !prompt_of(tokens).media.empty();
    BenchRow row{.stage = "first-token",
                 .what = fmt::format("{}{} tokens", has_picture ? "picture and text, " : "", tokens),
                 .context = tokens};
    if (!fits_context(generator, row, tokens)) return;
    measure(row, options_.repeat, [&] {
      Prompt prompt = prompt_of(tokens);
      if (has_picture) prompt.media = picture_prompt(generator)->media;
      for (size_t idx = 0; idx < prompt.media.size(); ++idx)
        prompt.media[idx].begin = picture_prompt_->media[idx].begin;
      Memory memory;
      DecodeOptions one;
      one.max_new_tokens = 1;
      one.kv_precision = loaded_.kv_precision;
      decode(generator, prompt, memory, nullptr, one);
    });
    done(std::move(row));
  }

  // `wanted` tokens in memory, fewer where the steps would leave the model's context.
  void decode_row(const Generator& generator, int64_t batch, int64_t wanted) {
    int64_t limit = generator.max_positions(), behind = options_.new_tokens + 2;
    int64_t context = wanted <= limit ? std::min(wanted, limit - behind) : wanted;
    BenchRow row{.stage = "decode",
                 .what = fmt::format("batch {}, context {}", batch, context),
                 .count = static_cast<double>(batch),
                 .unit = "tokens",
                 .batch = batch,
                 .context = context};
    if (!fits_context(generator, row, context)) return;
    Prompt prompt = prompt_of(std::min(context, kFilledTokens));
    DecodeTimes times;
    std::vector<Sequence> sequences(static_cast<size_t>(batch));
    Sequence& first = sequences.front();
    first.cache.set_precision(loaded_.kv_precision);
    generator.prefill(prompt, encode_media(generator, prompt, nullptr, times), first, false);
    double row_bytes =
        static_cast<double>(first.cache.bytes()) / static_cast<double>(std::min(context, kFilledTokens));
    double wanted_bytes = 1.5 * row_bytes * static_cast<double>(context * batch);
    if (wanted_bytes > kMostOfMemory * free_bytes()) {
      row.skipped = fmt::format("the caches would take {:.1f} GB", wanted_bytes * 1e-9);
      done(std::move(row));
      return;
    }
    first.cache.stretch(context);
    for (size_t idx = 1; idx < sequences.size(); ++idx) {
      sequences[idx].cache = first.cache.clone();
      sequences[idx].extra = first.extra;
    }
    size_t step = 0;
    auto extend = [&] {
      std::vector<Generator::Continuation> tokens;
      for (size_t idx = 0; idx < sequences.size(); ++idx)
        tokens.push_back({{text_ids_[(step + idx) % text_ids_.size()]}, &sequences[idx]});
      ++step;
      Tensor logits = generator.extend(tokens);
      for (int64_t idx = 0; idx < logits.size(0); ++idx) logits[idx].argmax().item<int64_t>();
    };
    extend();  // the caches grow
    measure(row, options_.new_tokens, extend);
    done(std::move(row));
  }

  const LoadedModel& loaded_;
  const BenchOptions& options_;
  const std::function<void(const BenchRow&)>& on_row_;
  std::vector<std::byte> jpeg_;
  std::vector<int64_t> text_ids_;
  std::optional<Prompt> picture_prompt_;
  std::vector<BenchRow> rows_;
};

}  // namespace

double BenchRow::median() const {
  if (seconds.empty()) return 0;
  std::vector<double> sorted = seconds;
  std::sort(sorted.begin(), sorted.end());
  size_t middle = sorted.size() / 2;
  return sorted.size() % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

double BenchRow::best() const {
  return seconds.empty() ? 0 : *std::min_element(seconds.begin(), seconds.end());
}

Image bench_picture(int64_t height, int64_t width) {
  Image image = Image::filled(height, width, {0, 0, 0});
  std::minstd_rand random(1);
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x) {
      double down = static_cast<double>(y) / static_cast<double>(height);
      double right = static_cast<double>(x) / static_cast<double>(width);
      bool is_roof = std::abs(right - 0.4) + std::abs(down - 0.7) < 0.25;
      double noise = static_cast<double>(random() % 16);
      uint8_t* pixel = image.row(y) + 3 * x;
      pixel[0] = static_cast<uint8_t>((is_roof ? 150 : 90) + 60 * down + noise);
      pixel[1] = static_cast<uint8_t>((is_roof ? 60 : 130) + 40 * std::sin(9 * right) + noise);
      pixel[2] = static_cast<uint8_t>((is_roof ? 40 : 190) - 30 * down + noise);
    }
  return image;
}

std::vector<BenchRow> bench_model(const LoadedModel& loaded, const BenchOptions& options,
                                  const std::function<void(const BenchRow&)>& on_row) {
  at::NoGradGuard no_grad;
  return Bench(loaded, options, on_row).run();
}

int64_t resident_bytes() {
  return 1024 * status_kilobytes("VmRSS:");
}
int64_t peak_resident_bytes() {
  return 1024 * status_kilobytes("VmHWM:");
}
void forget_peak() {
  std::ofstream("/proc/self/clear_refs") << "5";  // proc(5): resets VmHWM
}

}  // namespace vlm
