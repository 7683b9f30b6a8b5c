// Asks a model about a picture and prints the answer as it comes.
//   ask MODEL PICTURE QUESTION...
// Several questions make a conversation.
#include <vlm/vlm.h>

#include <cstdio>

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: %s MODEL PICTURE QUESTION...\n", argv[0]);
    return 2;
  }
  try {
    vlm::Model model = vlm::Model::load(argv[1]);
    vlm::Image picture = vlm::Image::from_file(argv[2]);
    vlm::Chat chat = model.chat();

    vlm::AskOptions options;
    options.max_new_tokens = 64;
    for (int turn = 3; turn < argc; ++turn) {
      std::printf("> %s\n", argv[turn]);
      std::vector<vlm::Image> pictures;
      if (turn == 3) pictures.push_back(picture);  // the chat remembers it
      vlm::Answer answer = chat.ask(argv[turn], pictures, options, [](const std::string& text) {
        std::fputs(text.c_str(), stdout);
        std::fflush(stdout);
        return true;  // false would end the answer here
      });
      std::printf("\n(%s: %lld tokens of prompt, %lld of them reused, %lld generated)\n",
                  model.info().system.c_str(), static_cast<long long>(answer.tokens_prompt),
                  static_cast<long long>(answer.tokens_reused),
                  static_cast<long long>(answer.tokens_generated));
    }
  } catch (const vlm::Error& error) {
    std::fprintf(stderr, "%s: %s\n", vlm::kind_name(error.kind()), error.what());
    return 1;
  }
}
