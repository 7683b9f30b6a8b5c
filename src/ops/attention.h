#pragma once

#include <vector>

#include "tensor/tensor.h"

namespace vlm::ops {

// Which keys a query sees. Queries are the last rows of the keys' sequence: query t of T stands at position S
// - T + t.
struct AttentionArgs {
  double scale = 1.0;  // of q . k
  bool is_causal = false;
  int64_t window = 0;   // > 0: a query sees itself and the window - 1 keys before it (with is_causal)
  int64_t prefix = 0;   // with is_causal: the first `prefix` keys are seen by everybody (prefix-LM)
  double softcap = 0;   // > 0: scores become softcap * tanh(score / softcap)
  Tensor alibi_slopes;  // [A] or undefined: adds slope * (key position - query position)
  Tensor key_mask;      // bool [B, S] or undefined: true where a key may be seen
  Tensor bias;          // float [B or 1, A or 1, T, S] or undefined: added to the scores
  bool may_round =
      false;  // products of bfloat16 where the machine has them, for weights that are rounded, too
};

// Keys and values in the precision of a cache: float32, float16 (bfloat16 in tiles where attends_in_tiles()),
// or int8 with a scale for every 32 values of a row, whose last group is filled up with zeros.
enum class KvPrecision { f32, f16, int8 };
KvPrecision kv_precision_from(const std::string& word);  // "f32", ...; throws bad_request
const char* kv_precision_name(KvPrecision precision);
struct KeyValues {
  Tensor k_BSGE, v_BSGE;                // undefined where there are tiles
  Tensor k_scales_BSGN, v_scales_BSGN;  // of int8: float32, N groups of 32 values; else undefined
  int64_t value_width = 0;              // of int8 and tiles, without what fills up the last group; else 0
  Tensor k_tiles = {}, v_tiles = {};    // of one sequence, see KvStore
  int64_t keys = 0;                     // in the tiles
};

// q [B, T, A, E], k and v [B, S, G, E or Ev] with A a multiple of G (grouped queries) -> [B, T, A, Ev],
// float32.
Tensor attention(const Tensor& q_BTAE, const Tensor& k_BSGE, const Tensor& v_BSGE, const AttentionArgs& args);
Tensor attention(const Tensor& q_BTAE, const KeyValues& kv, const AttentionArgs& args);

// Several sequences, the queries of one behind those of the other, each on keys and values of its own and
// with a prefix of its own: q [T, A, E] -> [T, A, Ev], what each gets alone.
struct Sequence {
  int64_t queries;
  KeyValues kv;
  int64_t prefix;
};
Tensor attention(const Tensor& q_TAE, const std::vector<Sequence>& sequences, AttentionArgs args);

// Whether attention with `may_round` rounds keys and values to bfloat16 whatever they are kept in, and reads
// them fastest when a cache of 16 bits keeps them as tiles of that.
bool attends_in_tiles(int64_t heads, int64_t groups, bool may_round);

// Rows of keys or values in memory of their own: [groups, capacity, width], each head's rows one behind the
// other; or bfloat16 in the order in which decoding reads it (kernels/kv_rows.h): [groups, tiles, lines of a
// token, tokens of a tile, 32 features].
struct KvStore {
  Tensor rows_GCE;    // as KvPrecision says; int8 in whole groups of 32
  Tensor scales_GCN;  // of int8
  Tensor tiles;
  int64_t capacity() const;  // in tokens
};
enum class KvTiles { none, keys, values };  // whose size tiles have
KvStore make_kv_store(KvPrecision precision, int64_t groups, int64_t capacity, int64_t width,
                      KvTiles tiles = KvTiles::none);
// Writes x [T, G, E], float32, into rows [begin, begin + T).
void store_kv(const Tensor& x_TGE, int64_t begin, const KvStore& store);
// Copies rows [from, from + count) to [to, ...) of a store of the same kind.
void copy_kv(const KvStore& source, int64_t from, const KvStore& target, int64_t to, int64_t count);

}  // namespace vlm::ops
