/* Says how well texts describe a picture, with a model such as CLIP.
 *   compare MODEL PICTURE TEXT... */
#include <stdio.h>
#include <vlm/capi.h>

static int complain(const char* what) {
  fprintf(stderr, "%s: %s\n  hint: %s\n", what, vlm_last_error(), vlm_last_hint());
  return 1;
}

int main(int argc, char** argv) {
  vlm_model* model = NULL;
  vlm_image* picture = NULL;
  float* values = NULL;
  float* vector = NULL;
  size_t width = 0;
  int failed = 0;

  if (argc < 4) {
    fprintf(stderr, "usage: %s MODEL PICTURE TEXT...\n", argv[0]);
    return 2;
  }
  size_t num_texts = (size_t)argc - 3;
  const char* const* texts = (const char* const*)argv + 3;

  if (vlm_model_load(argv[1], NULL, &model) != VLM_OK)
    failed = complain("model");
  else if (vlm_image_from_file(argv[2], &picture) != VLM_OK)
    failed = complain("picture");
  else {
    const vlm_image* pictures[] = {picture};
    if (vlm_embed_images(model, pictures, 1, &vector, &width) != VLM_OK ||
        vlm_similarity(model, pictures, 1, texts, num_texts, &values) != VLM_OK)
      failed = complain("compare");
  }
  if (!failed) {
    printf("%s: vectors of %zu numbers, this one begins %.4f %.4f\n", vlm_model_system(model), width,
           vector[0], width > 1 ? vector[1] : 0);
    for (size_t idx = 0; idx < num_texts; ++idx) printf("%6.2f %%  %s\n", 100 * values[idx], texts[idx]);
  }
  vlm_free(values);
  vlm_free(vector);
  vlm_image_release(picture);
  vlm_model_release(model);
  return failed;
}
