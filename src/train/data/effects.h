// What cameras, scanners and file formats do to pictures.
#pragma once

#include <cstdint>

#include "media/image.h"
#include "train/data/random.h"

namespace vlm::data {

// The picture `factor` times smaller: of each block the mean, or its first pixel.
Image shrink(const Image& image, int64_t factor, bool take_first);
// Each pixel's value by `amount`, 0..1, drawn towards the mean of its 3 x 3 neighbourhood.
void blur(Image& image, double amount);
void adjust(Image& image, double brightness, double contrast);
void add_grain(Image& image, double deviation, Rng& rng);
// The loss of JPEG compression: 8 x 8 cosine transforms, quantised with the tables of ITU-T T.81 annex K.
void jpeg_artefacts(Image& image, int64_t quality);

}  // namespace vlm::data
