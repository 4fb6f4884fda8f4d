#include "tersenet.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tersenet/runtime/session.h"

struct tersenet_session {
  std::unique_ptr<tersenet::Session> session;
  std::vector<std::string> outputs;
  std::string error;
};

namespace {

// Runs `body`; what it throws becomes a sentence and 1.
template <class Body>
int guarded(std::string& error, const Body& body) {
  try {
    error.clear();
    body();
    return 0;
  } catch (const std::bad_alloc&) {
    error = "no memory is left";
  } catch (const std::exception& thrown) {
    error = thrown.what();
  } catch (...) {
    error = "an unknown failure";
  }
  return 1;
}

void tell(const std::string& sentence, char* error, size_t size) {
  if (error == nullptr || size == 0) return;
  const size_t kept = std::min(sentence.size(), size - 1);
  std::memcpy(error, sentence.data(), kept);
  error[kept] = 0;
}

std::vector<uint8_t> read_whole(const char* path) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path, "rb"), std::fclose);
  if (!file) tersenet::refuse(std::string(path) + ": cannot be opened");
  std::vector<uint8_t> data;
  uint8_t part[1 << 16];
  for (size_t got; (got = std::fread(part, 1, sizeof part, file.get())) > 0;) data.insert(data.end(), part, part + got);
  if (std::ferror(file.get())) tersenet::refuse(std::string(path) + ": cannot be read");
  return data;
}

void fill(const tersenet::Spec& spec, tersenet_shape* shape) {
  shape->dtype = tersenet_dtype(int(spec.dtype));
  shape->ndim = spec.shape.ndim;
  for (int i = 0; i < spec.shape.ndim; ++i) shape->size[i] = spec.shape.size[i];
}

}  // namespace

static_assert(TERSENET_MAX_DIMS == tersenet::kMaxDims, "the C header and the core agree on dimensions");

extern "C" {

tersenet_session* tersenet_open_bytes_with(const void* data, size_t size, const tersenet_options* given, char* error, size_t error_size) {
  std::string sentence;
  std::unique_ptr<tersenet_session> made;
  const int status = guarded(sentence, [&] {
    made = std::make_unique<tersenet_session>();
    const tersenet_options wanted = given ? *given : tersenet_options{};
    tersenet::SessionOptions options;
    options.threads = wanted.threads > 0 ? wanted.threads : int(std::max(1u, std::thread::hardware_concurrency()));
    options.int8 = wanted.int8 != 0;
    options.batch = size_t(std::max<uint64_t>(wanted.batch, 1));
    options.max_bytes = wanted.max_bytes;
    made->session = std::make_unique<tersenet::Session>(static_cast<const uint8_t*>(data), size, options);
    made->outputs = made->session->output_names();
  });
  tell(sentence, error, error_size);
  return status ? nullptr : made.release();
}

tersenet_session* tersenet_open_with(const char* path, const tersenet_options* options, char* error, size_t error_size) {
  std::string sentence;
  std::vector<uint8_t> data;
  if (guarded(sentence, [&] { data = read_whole(path); })) {
    tell(sentence, error, error_size);
    return nullptr;
  }
  return tersenet_open_bytes_with(data.data(), data.size(), options, error, error_size);
}

tersenet_session* tersenet_open_bytes(const void* data, size_t size, int threads, char* error, size_t error_size) {
  tersenet_options options{};
  options.threads = threads;
  return tersenet_open_bytes_with(data, size, &options, error, error_size);
}

tersenet_session* tersenet_open(const char* path, int threads, char* error, size_t error_size) {
  tersenet_options options{};
  options.threads = threads;
  return tersenet_open_with(path, &options, error, error_size);
}

int tersenet_inputs(const tersenet_session* session) { return int(session->session->inputs().size()); }

int tersenet_outputs(const tersenet_session* session) { return int(session->outputs.size()); }

const char* tersenet_input_name(const tersenet_session* session, int index) {
  if (index < 0 || index >= tersenet_inputs(session)) return nullptr;
  return session->session->inputs()[size_t(index)].name.c_str();
}

const char* tersenet_output_name(const tersenet_session* session, int index) {
  if (index < 0 || index >= tersenet_outputs(session)) return nullptr;
  return session->outputs[size_t(index)].c_str();
}

int tersenet_input_shape(tersenet_session* session, int index, uint64_t batch, tersenet_shape* shape) {
  return guarded(session->error, [&] {
    if (index < 0 || index >= tersenet_inputs(session)) tersenet::refuse("there is no input " + std::to_string(index));
    const tersenet::GraphInput& input = session->session->inputs()[size_t(index)];
    shape->dtype = tersenet_dtype(input.dtype);
    shape->ndim = int(input.shape.size()) + 1;
    shape->size[0] = batch;
    std::copy(input.shape.begin(), input.shape.end(), shape->size + 1);
  });
}

int tersenet_output_shape(tersenet_session* session, int index, uint64_t batch, tersenet_shape* shape) {
  return guarded(session->error, [&] {
    if (index < 0 || index >= tersenet_outputs(session)) tersenet::refuse("there is no output " + std::to_string(index));
    fill(session->session->output_specs(batch)[size_t(index)], shape);
  });
}

int tersenet_run(tersenet_session* session, const void* const* inputs, uint64_t batch, void* const* outputs) {
  return guarded(session->error, [&] {
    const std::vector<const void*> from(inputs, inputs + tersenet_inputs(session));
    const std::vector<void*> to(outputs, outputs + tersenet_outputs(session));
    session->session->run(from, batch, to);
  });
}

const char* tersenet_error(const tersenet_session* session) { return session->error.c_str(); }

void tersenet_close(tersenet_session* session) { delete session; }

}  // extern "C"
