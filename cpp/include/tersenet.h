/* tersenet.h - open a .terse file and run it from C or C++, without Python and without torch.
 *
 *   tersenet_session* s = tersenet_open("model.terse", 0, error, sizeof error);
 *   tersenet_run(s, inputs, batch, outputs);
 *   tersenet_close(s);
 *
 * No exception leaves these functions. Where one fails it returns NULL or a non-zero status; the sentence that
 * says why is in `error` after tersenet_open, and in tersenet_error(session) after the others.
 * A session is used by one thread at a time (others wait); two sessions share nothing.
 * Buffers are contiguous and row-major, float32 unless the dtype says otherwise, and belong to the caller. */
#ifndef TERSENET_H
#define TERSENET_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TERSENET_MAX_DIMS 8

typedef struct tersenet_session tersenet_session;

typedef enum { TERSENET_FLOAT32 = 0, TERSENET_INT64 = 1, TERSENET_BOOL = 2 } tersenet_dtype;

typedef struct {
  tersenet_dtype dtype;
  int ndim;                          /* the batch is dimension 0 */
  uint64_t size[TERSENET_MAX_DIMS];
} tersenet_shape;

/* Opens a file. threads: 0 for one on each core. At most error_size bytes of the sentence, ended by 0, go to
 * `error`, which may be NULL. Each layer's kernel is chosen by running those that fit it. */
tersenet_session* tersenet_open(const char* path, int threads, char* error, size_t error_size);

/* The same from bytes in memory, which may go afterwards. */
tersenet_session* tersenet_open_bytes(const void* data, size_t size, int threads, char* error, size_t error_size);

/* How a file is opened; a struct of zeros has the defaults. */
typedef struct {
  int threads;        /* 0: one on each core */
  int int8;           /* not 0: linear layers and convolutions multiply eight-bit integers, where they fit. Faster, and other
                         answers: about 1 % of the largest output. 0: float32 */
  uint64_t batch;     /* that kernels are chosen for, any runs; 0: 1 */
  uint64_t max_bytes; /* the most that weights may decode to, and that values may take; 0: 1000 times the file's length (64
                         MiB to 16 GiB), and 16 GiB */
} tersenet_options;

/* The same with options; NULL has the defaults. */
tersenet_session* tersenet_open_with(const char* path, const tersenet_options* options, char* error, size_t error_size);
tersenet_session* tersenet_open_bytes_with(const void* data, size_t size, const tersenet_options* options, char* error, size_t error_size);

int tersenet_inputs(const tersenet_session* session);
int tersenet_outputs(const tersenet_session* session);

/* Names live as long as the session; NULL where there is no such input or output. */
const char* tersenet_input_name(const tersenet_session* session, int index);
const char* tersenet_output_name(const tersenet_session* session, int index);

/* Shapes at a batch. 0 where all went well. */
int tersenet_input_shape(tersenet_session* session, int index, uint64_t batch, tersenet_shape* shape);
int tersenet_output_shape(tersenet_session* session, int index, uint64_t batch, tersenet_shape* shape);

/* Runs a batch: one pointer for each input and output. 0 where all went well. */
int tersenet_run(tersenet_session* session, const void* const* inputs, uint64_t batch, void* const* outputs);

/* Why the last call on this session failed; "" if none did. */
const char* tersenet_error(const tersenet_session* session);

/* NULL is accepted. */
void tersenet_close(tersenet_session* session);

#ifdef __cplusplus
}
#endif

#endif
