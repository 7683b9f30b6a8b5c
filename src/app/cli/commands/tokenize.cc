#include "app/cli/commands/models.h"
#include "app/cli/commands/pictures.h"

namespace vlm::cli {

int run_command(const TokenizeOptions& tokenize, const Context& context) {
  if (tokenize.text.empty() == tokenize.decode.empty())
    fail(ErrorKind::bad_request, "give a text, or ids with --decode", "{}",
         tokenize.text.empty() ? "nothing to tokenize was given" : "a text and --decode were given");
  LoadedTokenizer loaded = load_tokenizer(find_model(tokenize.model, tokenize.revision));
  const Tokenizer& tokenizer = *loaded.tokenizer;
  if (!tokenize.decode.empty()) {
    for (int64_t id : tokenize.decode)
      if (id < 0 || id >= tokenizer.vocab_size())
        fail(ErrorKind::bad_request, "give ids of this model", "id {} is not in the vocabulary of {} tokens",
             id, tokenizer.vocab_size());
    std::string text = tokenizer.decode(tokenize.decode, false);
    if (context.options.json)
      print_json({{"ids", tokenize.decode}, {"text", text}});
    else
      print(text + "\n");
    return kExitOk;
  }
  std::string text = tokenize.text == "-" ? read_standard_input(int64_t{1} << 28) : tokenize.text;
  std::vector<int64_t> ids = tokenizer.ids(text, !tokenize.without_special_tokens);
  if (context.options.json) {
    nlohmann::ordered_json tokens = nlohmann::ordered_json::array();
    for (int64_t id : ids) tokens.push_back(tokenizer.id_to_token(id));
    print_json({{"text", text}, {"ids", ids}, {"tokens", tokens}});
    return kExitOk;
  }
  std::string lines;
  for (int64_t id : ids) lines += fmt::format("{:>8}  {}\n", id, tokenizer.id_to_token(id));
  print(lines);
  log(LogLevel::info, "{} tokens", ids.size());
  return kExitOk;
}

}  // namespace vlm::cli
