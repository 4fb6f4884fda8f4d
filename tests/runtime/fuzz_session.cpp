// fuzz_session.cpp - mutants of whole files against the runtime, under AddressSanitizer and UBSan.
//
//   fuzz_session ITERATIONS SEED FILE...
//
// A section is changed and sealed again with a right checksum, then the file is opened and, where that is not
// refused, run. A refusal is fine; so are results. Built by test_c_api.py.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>

#include "tersenet/byte_model.h"
#include "tersenet/runtime/session.h"

using namespace tersenet;
using Data = std::vector<uint8_t>;

namespace {

constexpr uint64_t kLimit = uint64_t(1) << 22;

uint64_t little(const uint8_t* from, int bytes) {
  uint64_t value = 0;
  for (int i = 0; i < bytes; ++i) value |= uint64_t(from[i]) << 8 * i;
  return value;
}

void put(Data& data, size_t at, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) data[at + size_t(i)] = uint8_t(value >> 8 * i);
}

void put_varint(Data& data, uint64_t value) {
  for (; value >= 128; value >>= 7) data.push_back(uint8_t(value | 128));
  data.push_back(uint8_t(value));
}

void change(Data& section, std::mt19937_64& random) {
  const auto below = [&](size_t n) { return size_t(random() % (n ? n : 1)); };
  for (size_t changes = 1 + below(3); changes && !section.empty(); --changes) {
    const size_t at = below(section.size());
    switch (below(4)) {
      case 0: section[at] ^= uint8_t(1u << below(8)); break;
      case 1: section[at] = uint8_t(random()); break;
      case 2: section.insert(section.begin() + long(at), uint8_t(random())); break;
      default: section.erase(section.begin() + long(at)); break;
    }
  }
}

// Of a file of version 2: the graph, the structure, the packed code or the payload is changed.
Data packed_mutant(const Data& from, std::mt19937_64& random) {
  ByteCursor in(from.data() + 11, from.size() - 11);
  const uint64_t elements = in.varint(), graph = in.varint(), structure = in.varint(), packed = in.varint(), kept = in.varint();
  const uint8_t* code_at = in.take(packed);
  Data plain = unpack_bytes(code_at, packed, graph + structure);
  Data parts[2] = {{plain.begin(), plain.begin() + long(graph)}, {plain.begin() + long(graph), plain.end()}};
  Data rest(code_at + packed, from.data() + from.size());
  const size_t chosen = size_t(random() % 4);
  if (chosen < 2) change(parts[chosen], random);
  plain = parts[0];
  plain.insert(plain.end(), parts[1].begin(), parts[1].end());
  Data code = pack_bytes(plain.data(), plain.size());
  if (chosen == 2) change(code, random);
  if (chosen == 3) change(rest, random);
  Data made(from.begin(), from.begin() + 11);
  for (uint64_t number : {elements, uint64_t(parts[0].size()), uint64_t(parts[1].size()), uint64_t(code.size()), kept}) put_varint(made, number);
  made.insert(made.end(), code.begin(), code.end());
  made.insert(made.end(), rest.begin(), rest.end());
  put(made, 7, crc32(made.data() + 11, made.size() - 11), 4);
  return made;
}

Data mutant(const Data& from, std::mt19937_64& random) {
  if (from[6] == 2) return packed_mutant(from, random);
  const auto below = [&](size_t n) { return size_t(random() % (n ? n : 1)); };
  const size_t count = from[7], header = 16 + 12 * count + 4;
  const size_t chosen = below(2);  // the graph or the weights
  Data made(from.begin(), from.begin() + long(header));
  size_t start = header;
  for (size_t i = 0; i < count; ++i) {
    const size_t entry = 16 + 12 * i, length = size_t(little(from.data() + entry, 8) >> 8);
    Data section(from.begin() + long(start), from.begin() + long(start + length));
    start += length;
    if (i == chosen) change(section, random);
    put(made, entry, from[entry] | uint64_t(section.size()) << 8, 8);
    put(made, entry + 8, crc32(section.data(), section.size()), 4);
    made.insert(made.end(), section.begin(), section.end());
  }
  put(made, header - 4, crc32(made.data(), header - 4), 4);
  return made;
}

bool runs(const Data& data) {
  try {
    SessionOptions options;
    options.max_bytes = kLimit;
    options.threads = 2;
    Session session(data.data(), data.size(), options);
    std::vector<std::vector<float>> inputs, outputs;
    std::vector<const void*> from;
    std::vector<void*> to;
    for (const GraphInput& input : session.inputs()) {
      Dims shape;
      shape.push(2);
      for (uint64_t size : input.shape) shape.push(size);
      if (checked_numel(shape) > kLimit) return false;
      inputs.emplace_back(size_t(checked_numel(shape)) * 2, 0.0f);
      from.push_back(inputs.back().data());
    }
    for (const Spec& spec : session.output_specs(2)) {
      outputs.emplace_back(size_t(checked_numel(spec.shape)) * 2);
      to.push_back(outputs.back().data());
    }
    session.run(from, 2, to);
    return true;
  } catch (const std::invalid_argument&) {
    return false;
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  std::mt19937_64 random(std::strtoull(argv[2], nullptr, 10));
  std::vector<Data> corpus;
  for (int i = 3; i < argc; ++i) {
    std::ifstream file(argv[i], std::ios::binary);
    corpus.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    if (!runs(corpus.back())) return 3;
  }
  long ran = 0;
  for (long left = std::atol(argv[1]); left > 0; --left) ran += runs(mutant(corpus[random() % corpus.size()], random));
  std::printf("%ld\n", ran);
  return 0;
}
