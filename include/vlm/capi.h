/* The C API; docs/api.md introduces it.
 *
 * Functions that can fail return a vlm_status; vlm_last_error() then says what happened, on the same thread.
 * Outputs are written only on success. Handles end with their _release function, which takes NULL; memory
 * that a function returns through a pointer ends with vlm_free(). Text is UTF-8, ended by a zero.
 *
 * A model may be used by several threads at once, a chat by one at a time. Handles may be released in any
 * order: a chat keeps its model's weights alive.
 *
 * ABI: structs begin with their size and grow only at the end, so programs run unchanged with newer
 * libraries. Start them from the _INIT macros. */
#ifndef VLM_CAPI_H
#define VLM_CAPI_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum vlm_status {
  VLM_OK = 0,
  VLM_BAD_REQUEST = 1,      /* the caller's input: an option, a prompt, a picture, a null pointer */
  VLM_NOT_FOUND = 2,        /* a file or a model that does not exist */
  VLM_UNSUPPORTED = 3,      /* valid, but not implemented, or not what this model does */
  VLM_BAD_CHECKPOINT = 4,   /* a corrupt or incomplete file of a model */
  VLM_OUT_OF_RESOURCES = 5, /* memory, limits */
  VLM_INTERNAL = 6          /* a bug of the library */
} vlm_status;

typedef struct vlm_model vlm_model;
typedef struct vlm_image vlm_image;
typedef struct vlm_chat vlm_chat;

/* --- the process */

const char* vlm_version(void); /* "0.1.0" */
/* Of this thread's last call that failed, until its next one that fails; never NULL. */
const char* vlm_last_error(void);
const char* vlm_last_hint(void); /* what to do about it; may be "" */
void vlm_free(void* memory);
void vlm_set_threads(int count); /* how many a call may use; 0: one for each core */

typedef enum vlm_log_level {
  VLM_LOG_DEBUG = 0,
  VLM_LOG_INFO = 1,
  VLM_LOG_WARN = 2,
  VLM_LOG_ERROR = 3
} vlm_log_level;
typedef void (*vlm_log_function)(vlm_log_level level, const char* message, void* user);
void vlm_set_log(vlm_log_function function, void* user); /* NULL: silent, as at first */

/* --- pictures */

vlm_status vlm_image_from_file(const char* path, vlm_image** image);
vlm_status vlm_image_from_memory(const void* data, size_t size, vlm_image** image); /* bytes of a file */
/* 8-bit RGB, rows from top to bottom, row_bytes apart (0: width * 3). */
vlm_status vlm_image_from_pixels(const uint8_t* rgb, int64_t height, int64_t width, int64_t row_bytes,
                                 vlm_image** image);
int64_t vlm_image_height(const vlm_image* image);
int64_t vlm_image_width(const vlm_image* image);
void vlm_image_release(vlm_image* image);

/* --- models */

typedef struct vlm_load_options {
  size_t struct_size;
  const char* precision;    /* "auto", "f32", "bf16", "int8", "int4"; NULL: "auto" */
  const char* revision;     /* of a hub id; NULL: "main" */
  const char* system;       /* slug to force; NULL: as the checkpoint says */
  int lenient;              /* not 0: log missing and unused tensors instead of refusing the checkpoint */
  const char* kv_precision; /* of keys and values: "auto", "f32", "f16", "int8"; NULL: "auto" */
} vlm_load_options;
#define VLM_LOAD_OPTIONS_INIT \
  { sizeof(vlm_load_options), NULL, NULL, NULL, 0, NULL }

/* `name`: a checkpoint's folder, a hub id that `vlm pull` fetched, or "default". `options` may be NULL. */
vlm_status vlm_model_load(const char* name, const vlm_load_options* options, vlm_model** model);
void vlm_model_release(vlm_model* model);

/* The strings live as long as the handle. */
const char* vlm_model_name(const vlm_model* model);
const char* vlm_model_system(const vlm_model* model);
const char* vlm_model_precision(const vlm_model* model);
int64_t vlm_model_num_parameters(const vlm_model* model);
int64_t vlm_model_max_tokens(const vlm_model* model);

typedef enum vlm_task {
  VLM_TASK_CHAT = 0,
  VLM_TASK_EMBED_IMAGES = 1,
  VLM_TASK_EMBED_TEXTS = 2, /* and similarity, and labels of the caller */
  VLM_TASK_CLASSIFY = 3     /* into classes of its own */
} vlm_task;
int vlm_model_can(const vlm_model* model, vlm_task task); /* 1 or 0 */

/* --- asking */

typedef struct vlm_ask_options {
  size_t struct_size;
  int64_t max_new_tokens;
  double temperature; /* 0: the most probable token each time */
  int64_t top_k;      /* 0: off */
  double top_p;
  double min_p;
  double repetition_penalty;
  double presence_penalty;
  double frequency_penalty;
  uint64_t seed;
  const char* const* stop; /* the answer ends before any of these */
  size_t num_stop;
  int64_t num_beams; /* more than 1: beam search, handed to the callback in one piece */
  double length_penalty;
  const char* task; /* of systems with a list of tasks of their own: "<OD>"; NULL: none */
  /* Places that the question speaks of, in pixels of the picture. */
  const double* boxes; /* 4 numbers each: left, top, right, bottom */
  size_t num_boxes;
  const double* points; /* 2 numbers each: x, y */
  size_t num_points;
  const int* points_outside;     /* for each point: 1 outside of what is meant; NULL: all inside */
  const vlm_image* const* masks; /* white where it is */
  size_t num_masks;
  int64_t no_repeat_ngram_size; /* no run of so many tokens comes twice; 0: off */
  /* At most so many tokens, up to 7, are guessed from what was said before and checked in one pass: the same
   * answer, sooner where it repeats its prompt or itself. 0: off. */
  int64_t speculate;
} vlm_ask_options;
#define VLM_ASK_OPTIONS_INIT                                                                                \
  {                                                                                                         \
    sizeof(vlm_ask_options), 512, 0.0, 0, 1.0, 0.0, 1.0, 0.0, 0.0, 0, NULL, 0, 1, 1.0, NULL, NULL, 0, NULL, \
        0, NULL, NULL, 0, 0, 0                                                                              \
  }

/* Length and sampling as the checkpoint's generation_config.json has them, greedy where it says nothing; the
 * rest as in VLM_ASK_OPTIONS_INIT. options->struct_size must be set. */
vlm_status vlm_model_published_options(const vlm_model* model, vlm_ask_options* options);

typedef enum vlm_finish {
  VLM_FINISH_STOP = 0,     /* the model ended its answer, or a stop string came */
  VLM_FINISH_LENGTH = 1,   /* max_new_tokens, or the context is full */
  VLM_FINISH_CANCELLED = 2 /* the callback returned 0 */
} vlm_finish;

/* Something that an answer points at, in pixels of the picture. What the system does not say has a zero in
 * its has_ field, or is NULL. */
typedef struct vlm_region {
  size_t struct_size;
  const char* label;
  size_t image; /* which picture of the question */
  int has_score, has_box, has_point, has_quad, has_span;
  double score;              /* a probability */
  double box[4];             /* left, top, right, bottom */
  double point[2];           /* x, y */
  double quad[8];            /* four corners, in the order of the answer */
  int64_t span[2];           /* of plain_text: [first, behind) in characters */
  size_t num_polygons;       /* parts of one object */
  const size_t* num_corners; /* of each part */
  const double* corners;     /* x, y of all parts, one after the other */
  const uint8_t* mask;       /* of the picture's size, row by row: 0 or 255 */
  size_t mask_size;
} vlm_region;

/* A function that an answer calls. */
typedef struct vlm_call {
  size_t struct_size;
  const char* name;
  const char* arguments; /* JSON */
} vlm_call;

/* What an answer's notation of places and calls stands for. One vlm_free() of the pointer to it ends all. */
typedef struct vlm_findings {
  size_t struct_size;
  const char* plain_text; /* the answer without that notation */
  const vlm_region* const* regions;
  size_t num_regions;
  const vlm_call* const* calls;
  size_t num_calls;
} vlm_findings;

typedef struct vlm_answer_info {
  size_t struct_size;
  vlm_finish finish;
  int64_t tokens_prompt;
  int64_t tokens_reused; /* of those, known from the turn before */
  int64_t tokens_generated;
  double seconds_encode; /* pictures */
  double seconds_prefill;
  double seconds_decode;
  vlm_findings** findings; /* where to put them; NULL: not wanted. *findings ends with vlm_free() */
  int64_t tokens_guessed;  /* by speculation */
  int64_t tokens_accepted; /* of those, part of the answer */
} vlm_answer_info;
#define VLM_ANSWER_INFO_INIT \
  { sizeof(vlm_answer_info), VLM_FINISH_LENGTH, 0, 0, 0, 0.0, 0.0, 0.0, NULL, 0, 0 }

/* Gets the answer as it comes, in whole characters; 0 ends it there. It must not leave by longjmp. */
typedef int (*vlm_text_function)(const char* text, void* user);

vlm_status vlm_chat_new(const vlm_model* model, const char* system_prompt, vlm_chat** chat); /* or NULL */
/* `images` may be NULL when num_images is 0; options, on_text, answer and info may be NULL. On failure the
 * chat is as before. *answer ends with vlm_free(). */
vlm_status vlm_chat_ask(vlm_chat* chat, const char* text, const vlm_image* const* images, size_t num_images,
                        const vlm_ask_options* options, vlm_text_function on_text, void* user, char** answer,
                        vlm_answer_info* info);
vlm_status vlm_chat_clear(vlm_chat* chat);
void vlm_chat_release(vlm_chat* chat);

/* Continues a prompt verbatim, placeholders of pictures included. */
vlm_status vlm_generate(const vlm_model* model, const char* prompt, const vlm_image* const* images,
                        size_t num_images, const vlm_ask_options* options, vlm_text_function on_text,
                        void* user, char** answer, vlm_answer_info* info);

/* --- embedding and classifying */

/* *values: num * *width numbers, rows of length 1; ends with vlm_free(). */
vlm_status vlm_embed_images(const vlm_model* model, const vlm_image* const* images, size_t num,
                            float** values, size_t* width);
vlm_status vlm_embed_texts(const vlm_model* model, const char* const* texts, size_t num, float** values,
                           size_t* width);
/* *values: num_images * num_texts probabilities, a row for each picture; ends with vlm_free(). */
vlm_status vlm_similarity(const vlm_model* model, const vlm_image* const* images, size_t num_images,
                          const char* const* texts, size_t num_texts, float** values);

typedef struct vlm_label {
  const char* name; /* in the same memory */
  double score;     /* a probability */
} vlm_label;
/* The `top` most probable classes, best first (0: all): of the model itself, or of `labels` where num_labels
 * is not 0. One vlm_free(*found) ends all of it. */
vlm_status vlm_classify(const vlm_model* model, const vlm_image* image, const char* const* labels,
                        size_t num_labels, size_t top, vlm_label** found, size_t* num_found);

#ifdef __cplusplus
}
#endif

#endif
