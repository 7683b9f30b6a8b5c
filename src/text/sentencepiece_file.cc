#include <cstring>
#include <optional>

#include "base/error.h"
#include "text/sentencepiece.h"
#include "text/unicode.h"

namespace vlm {

namespace {

// Just enough of the protocol buffer wire format.
class Message {
 public:
  Message(std::string_view bytes, const std::string& where) : bytes_(bytes), where_(where) {}

  struct Field {
    uint64_t number = 0;
    uint64_t value = 0;      // of a varint or a fixed-size number
    std::string_view bytes;  // of a string or message
    bool is_bytes = false;
  };

  // The next field, or none at the end.
  std::optional<Field> next() {
    if (at_ >= bytes_.size()) return std::nullopt;
    uint64_t key = varint();
    Field field;
    field.number = key >> 3;
    switch (key & 7) {
      case 0:
        field.value = varint();
        break;
      case 1:
        field.value = fixed(8);
        break;
      case 2: {
        uint64_t length = varint();
        if (length > bytes_.size() - at_) damaged();
        field.bytes = bytes_.substr(at_, length);
        field.is_bytes = true;
        at_ += length;
        break;
      }
      case 5:
        field.value = fixed(4);
        break;
      default:
        damaged();
    }
    return field;
  }

 private:
  [[noreturn]] void damaged() const {
    fail(ErrorKind::bad_checkpoint, "the file is damaged or not a SentencePiece model; get it again",
         "{}: not a SentencePiece model (the wire format breaks at byte {} of a message of {})", where_, at_,
         bytes_.size());
  }
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (at_ >= bytes_.size()) damaged();
      auto byte = static_cast<unsigned char>(bytes_[at_++]);
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    damaged();
  }
  uint64_t fixed(size_t size) {
    if (bytes_.size() - at_ < size) damaged();
    uint64_t value = 0;
    for (size_t byte = 0; byte < size; ++byte)
      value |= static_cast<uint64_t>(static_cast<unsigned char>(bytes_[at_ + byte])) << 8 * byte;
    at_ += size;
    return value;
  }

  std::string_view bytes_;
  const std::string& where_;
  size_t at_ = 0;
};

SentencePieceData::Piece read_piece(std::string_view bytes, const std::string& where) {
  SentencePieceData::Piece piece;
  Message message(bytes, where);
  while (auto field = message.next()) {
    if (field->number == 1 && field->is_bytes) {
      piece.text = field->bytes;
    } else if (field->number == 2 && !field->is_bytes) {
      auto bits = static_cast<uint32_t>(field->value);
      std::memcpy(&piece.score, &bits, sizeof bits);
    } else if (field->number == 3 && !field->is_bytes) {
      if (field->value < 1 || field->value > 6)
        fail(ErrorKind::bad_checkpoint, "the file is damaged; get it again",
             "{}: a piece has the type {}, expected 1 to 6", where, field->value);
      piece.type = static_cast<SentencePieceData::PieceType>(field->value);
    }
  }
  return piece;
}

}  // namespace

SentencePieceData read_sentencepiece(std::string_view bytes, const std::string& where) {
  SentencePieceData data;
  Message message(bytes, where);
  while (auto field = message.next()) {
    if (!field->is_bytes) continue;
    if (field->number == 1) {
      data.pieces.push_back(read_piece(field->bytes, where));
    } else if (field->number == 2) {  // trainer_spec
      Message trainer(field->bytes, where);
      while (auto option = trainer.next()) {
        if (option->is_bytes) continue;
        auto id = [&] { return static_cast<int64_t>(static_cast<int32_t>(option->value)); };
        switch (option->number) {
          case 3:
            if (option->value < 1 || option->value > 4)
              fail(ErrorKind::bad_checkpoint, "the file is damaged; get it again",
                   "{}: model_type is {}, expected 1 to 4", where, option->value);
            data.type = static_cast<SentencePieceData::Type>(option->value);
            break;
          case 24:
            data.treat_whitespace_as_suffix = option->value != 0;
            break;
          case 35:
            data.byte_fallback = option->value != 0;
            break;
          case 40:
            data.unk_id = id();
            break;
          case 41:
            data.bos_id = id();
            break;
          case 42:
            data.eos_id = id();
            break;
          case 43:
            data.pad_id = id();
            break;
        }
      }
    } else if (field->number == 3) {  // normalizer_spec
      Message normalizer(field->bytes, where);
      while (auto option = normalizer.next()) {
        if (option->number == 2 && option->is_bytes)
          data.charsmap = option->bytes;
        else if (option->number == 3 && !option->is_bytes)
          data.add_dummy_prefix = option->value != 0;
        else if (option->number == 4 && !option->is_bytes)
          data.remove_extra_whitespaces = option->value != 0;
        else if (option->number == 5 && !option->is_bytes)
          data.escape_whitespaces = option->value != 0;
      }
    }
  }
  if (data.pieces.empty())
    fail(ErrorKind::bad_checkpoint, "the file is damaged or not a SentencePiece model; get it again",
         "{}: holds no pieces", where);
  return data;
}

}  // namespace vlm
