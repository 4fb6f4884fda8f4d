// Runs a .terse file on raw float32 numbers: the C++17 standard library and tersenet.h, nothing else.
//
//   run_model [--int8] FILE.terse INPUT.bin [OUTPUT.bin]
//
// --int8 multiplies eight-bit integers: faster, and about 1 % off.
// INPUT.bin holds the first input, little-endian float32, one example after the other; its length gives the batch.
// Without OUTPUT.bin the position of the largest output of each example is printed.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <vector>

#include "tersenet.h"

static int fail(const char* sentence) {
  std::fprintf(stderr, "run_model: %s\n", sentence);
  return 1;
}

int main(int argc, char** argv) {
  tersenet_options options{};
  options.threads = 1;
  if (argc > 1 && std::strcmp(argv[1], "--int8") == 0) {
    options.int8 = 1;
    --argc;
    ++argv;
  }
  if (argc < 3) return fail("expected [--int8] FILE.terse INPUT.bin [OUTPUT.bin]");
  char error[512];
  tersenet_session* session = tersenet_open_with(argv[1], &options, error, sizeof error);
  if (session == nullptr) return fail(error);

  tersenet_shape shape;
  tersenet_input_shape(session, 0, 1, &shape);
  if (tersenet_inputs(session) != 1 || shape.dtype != TERSENET_FLOAT32) return fail("this example runs networks of one float input");
  size_t example = 1;
  for (int i = 1; i < shape.ndim; ++i) example *= size_t(shape.size[i]);

  std::ifstream file(argv[2], std::ios::binary);
  std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  if (!file || bytes.empty() || bytes.size() % (4 * example)) return fail("the input is missing, empty, or not a whole number of examples");
  const size_t batch = bytes.size() / (4 * example);

  if (tersenet_output_shape(session, 0, batch, &shape)) return fail(tersenet_error(session));
  size_t numel = 1;
  for (int i = 0; i < shape.ndim; ++i) numel *= size_t(shape.size[i]);
  std::vector<std::vector<float>> outputs;
  std::vector<void*> pointers;
  for (int k = 0; k < tersenet_outputs(session); ++k) {
    tersenet_shape one;
    tersenet_output_shape(session, k, batch, &one);
    size_t count = 2;  // floats are the smaller half of an int64
    for (int i = 0; i < one.ndim; ++i) count *= size_t(one.size[i]);
    outputs.emplace_back(count);
  }
  for (auto& output : outputs) pointers.push_back(output.data());

  const void* inputs[] = {bytes.data()};
  const auto start = std::chrono::steady_clock::now();
  if (tersenet_run(session, inputs, batch, pointers.data())) return fail(tersenet_error(session));
  const double took = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  std::fprintf(stderr, "%zu examples in %.3f ms\n", batch, took);

  const float* y = outputs[0].data();
  if (argc > 3) {
    std::ofstream out(argv[3], std::ios::binary);
    out.write(reinterpret_cast<const char*>(y), std::streamsize(4 * numel));
    if (!out) return fail("the output cannot be written");
  } else {
    for (size_t b = 0; b < batch; ++b) {
      const float* row = y + b * (numel / batch);
      std::printf("%zu\n", size_t(std::max_element(row, row + numel / batch) - row));
    }
  }
  tersenet_close(session);
  return 0;
}
