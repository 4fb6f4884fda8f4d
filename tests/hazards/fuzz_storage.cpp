// fuzz_storage.cpp - mutants of storage trees against the C++ decoder, under AddressSanitizer and UBSan.
//
//   fuzz_storage COLUMN ITERATIONS SEED FILE...     COLUMN is scalar or avx2, each FILE the bytes of one tree
//
// The parser sees a copy in a block of exactly its size, and the decoder an output of exactly its size,
// so that one byte too far is an error. A refusal is fine; so is a result. Built by test_fuzz.py.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>

#include "tersenet/huffman_loop.h"
#include "tersenet/storage.h"

#if defined(TERSENET_AVX2)
#include "tersenet/targets.h"
#endif

using namespace tersenet;
using Data = std::vector<uint8_t>;

namespace {

constexpr int kColumnMissing = 77;
constexpr uint64_t kLimit = uint64_t(1) << 18;  // small, so that time goes into mutants and not into zeros

bool decodes(const Data& data, const CoderKernels& kernels) {
  std::unique_ptr<uint8_t[]> exact(new uint8_t[data.size()]);
  std::copy(data.begin(), data.end(), exact.get());
  try {
    StorageBudget budget(kLimit, kLimit);
    const StorageTree tree = StorageTree::parse(exact.get(), data.size(), budget);
    budget.peak(tree.top().working());
    std::unique_ptr<void, void (*)(void*)> out(std::calloc(1, size_t(tree.top().bytes())), std::free);
    StorageDecoder(tree, kernels).run(out.get());
    return true;
  } catch (const std::invalid_argument&) {
    return false;
  }
}

Data mutant(const Data& from, const std::vector<Data>& corpus, std::mt19937_64& random) {
  static const uint8_t kHuge[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f};
  const auto below = [&](size_t n) { return size_t(random() % (n ? n : 1)); };
  Data data = from;
  for (size_t changes = 1 + below(4); changes > 0; --changes) {
    const size_t at = below(data.size() + 1);
    switch (below(7)) {
      case 0:
        if (at < data.size()) data[at] ^= uint8_t(1u << below(8));
        break;
      case 1:
        if (at < data.size()) data[at] = uint8_t(random());
        break;
      case 2: data.insert(data.begin() + at, uint8_t(random())); break;
      case 3: data.erase(data.begin() + at, data.begin() + at + below(std::min<size_t>(data.size() - at, 4) + 1)); break;
      case 4: data.insert(data.begin() + at, kHuge, kHuge + 1 + below(9)); break;
      case 5: {  // a piece of another tree
        const Data& other = corpus[below(corpus.size())];
        const size_t start = below(other.size()), length = below(std::min<size_t>(other.size() - start, 64) + 1);
        data.insert(data.begin() + at, other.begin() + start, other.begin() + start + length);
        break;
      }
      default:  // a small count becomes its neighbour
        if (at < data.size()) data[at] = uint8_t(data[at] + (random() & 1 ? 1 : -1));
    }
  }
  return data;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) return 2;
  const std::string column = argv[1];
  const long iterations = std::atol(argv[2]);
  std::mt19937_64 random(std::strtoull(argv[3], nullptr, 10));
  std::vector<Data> corpus;
  for (int i = 4; i < argc; ++i) {
    std::ifstream file(argv[i], std::ios::binary);
    corpus.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  CoderKernels kernels{huffman_run, nullptr};
  if (column != "scalar") {
#if defined(TERSENET_AVX2)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2")) {
      kernels.huffman = huffman_run_bmi2;
    } else {
      return kColumnMissing;
    }
#else
    return kColumnMissing;
#endif
  }
  for (const Data& whole : corpus) {
    if (!decodes(whole, kernels)) return std::puts("a whole tree was refused"), 1;
  }
  long taken = 0;
  std::vector<Data> alive = corpus;  // mutants that decode join the corpus, so that damage can add up
  for (long i = 0; i < iterations; ++i) {
    Data data = mutant(alive[size_t(random() % alive.size())], corpus, random);
    if (data.size() > 4096 || !decodes(data, kernels)) continue;
    ++taken;
    if (alive.size() < 512) alive.push_back(std::move(data));
    else alive[size_t(random() % alive.size())] = std::move(data);
    if (i % 1024 == 0) alive = corpus;
  }
  std::printf("%ld of %ld mutants decoded\n", taken, iterations);
}
