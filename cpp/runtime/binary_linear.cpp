// Linear layers whose weights are -a[row] and +a[row]: inputs of any value by look-ups, signs by xnor and popcount.
#include <algorithm>
#include <cmath>

#include "tersenet/runtime/layer.h"
#include "tersenet/targets.h"

namespace tersenet {
namespace {

constexpr size_t kWorthLookups = 4000000;  // multiplications: about 15 us of one thread
constexpr size_t kWorthSigns = 16000000;

BinaryKernels binary_kernels(Cpu cpu) {
  BinaryKernels kernels = binary_kernels_scalar();
#if defined(TERSENET_AVX2)
  if (cpu == Cpu::avx2) add_binary_avx2(kernels);
#endif
#if defined(TERSENET_AVX512)
  if (cpu == Cpu::avx512 || cpu == Cpu::avx512vnni) add_binary_avx512(kernels);
#endif
#if defined(TERSENET_AVX512VNNI)
  if (cpu == Cpu::avx512vnni) add_binary_avx512vnni(kernels);
#endif
#if defined(__aarch64__)
  if (cpu >= Cpu::neon) add_binary_neon(kernels);
#endif
  (void)cpu;
  return kernels;
}

// Which codes of a shared dense matrix are the negative value, and the a of each row; `fits` where that is all there is.
struct Signs {
  bool fits = false;
  std::vector<bool> negative;
  std::vector<float> scale;

  explicit Signs(const Matrix& weight) {
    if (weight.sparse || !weight.shared() || (weight.stepped() && (weight.by_column || weight.run() % weight.cols != 0))) return;
    float most = 0.0f;
    std::vector<bool> used(weight.codebook.size(), false);
    for (uint16_t code : weight.code) used[code] = true;
    const float zero = weight.stepped() ? weight.zero[0] : 0.0f;
    for (float one : weight.zero) {
      if (one != zero) return;
    }
    negative.resize(used.size());
    for (size_t code = 0; code < used.size(); ++code) {
      if (!used[code]) continue;
      const float worth = weight.codebook[code] - zero, magnitude = std::fabs(worth);
      if (!(magnitude > 0 && magnitude < INFINITY) || (most != 0.0f && magnitude != most)) return;
      most = magnitude;
      negative[code] = worth < 0;
    }
    scale.assign(weight.rows, most);
    for (uint32_t r = 0; weight.stepped() && r < weight.rows; ++r) scale[r] = most * weight.step[size_t(r) * weight.cols / weight.run()];
    fits = true;
  }
};

class BinaryLinear : public LinearKernel {
 public:
  BinaryLinear(const Matrix& weight, const Signs& signs, const std::string& name, const BinaryKernels& kernels)
      : name_(name), kernels_(kernels), scale_(signs.scale), rows_(weight.rows), cols_(weight.cols), blocks_((weight.rows + kBinaryRows - 1) / kBinaryRows) {}

  const char* name() const override { return name_.c_str(); }

 protected:
  std::string name_;
  BinaryKernels kernels_;
  std::vector<float> scale_;
  size_t rows_, cols_, blocks_;

  // Bits of a weight of -1, in words of T, block by block and row by row.
  template <class T>
  AlignedVector<T> packed(const Matrix& weight, const Signs& signs, size_t words) const {
    constexpr size_t kBits = 8 * sizeof(T);
    AlignedVector<T> bits(blocks_ * words * kBinaryRows);
    for (size_t r = 0; r < rows_; ++r) {
      T* to = bits.data() + r / kBinaryRows * words * kBinaryRows + r % kBinaryRows;
      const uint16_t* code = weight.code.data() + r * cols_;
      for (size_t c = 0; c < cols_; ++c) to[c / kBits * kBinaryRows] |= T(signs.negative[code[c]]) << c % kBits;
    }
    return bits;
  }

  void store(size_t row, float sum, size_t b, const Epilogue& epilogue, float* y) const {
    const size_t at = b * rows_ + row;
    y[at] = finish(epilogue, row, sum * scale_[row], epilogue.residual ? epilogue.residual[at] : 0.0f);
  }
};

class LookupLinear : public BinaryLinear {
 public:
  LookupLinear(const Matrix& weight, const Signs& signs, const std::string& name, const BinaryKernels& kernels)
      : BinaryLinear(weight, signs, name, kernels), words_((cols_ + 31) / 32), bits_(packed<uint32_t>(weight, signs, words_)) {
    for (uint32_t& word : bits_) {  // from signs to nibbles: binary.h
      const uint32_t last = word & 0x88888888u;
      word ^= last >> 1 | last >> 2 | last >> 3;
    }
  }

  size_t bytes() const override { return bits_.size_bytes() + scale_.size() * sizeof(float); }

  void run(const float* x, size_t batch, const Epilogue& epilogue, float* y, Pool& pool) const override {
    const size_t step = words_ * 128;
    float* tables = static_cast<float*>(pool.shared(batch * step * sizeof(float)));
    const bool worth = rows_ * cols_ * batch > kWorthLookups;
    pool.run(batch, [&](size_t b, int) { kernels_.table(x + b * cols_, cols_, words_, tables + b * step); }, worth);
    pool.run((blocks_ + kTogether - 1) / kTogether, [&](size_t chunk, int) {
      const size_t first = chunk * kTogether, count = std::min(kTogether, blocks_ - first);
      float sums[kTogether * kBinaryRows];
      for (size_t b = 0; b < batch; ++b) {
        kernels_.lookup(bits_.data() + first * words_ * kBinaryRows, count, words_, tables + b * step, sums);
        const size_t row = first * kBinaryRows, end = std::min(rows_, row + count * kBinaryRows);
        for (size_t r = row; r < end; ++r) store(r, sums[r - row], b, epilogue, y);
      }
    }, worth);
  }

 private:
  static constexpr size_t kTogether = 4;  // blocks for which a table is read once
  size_t words_;
  AlignedVector<uint32_t> bits_;
};

class XnorLinear : public BinaryLinear {
 public:
  XnorLinear(const Matrix& weight, const Signs& signs, const std::string& name, const BinaryKernels& kernels)
      : BinaryLinear(weight, signs, name, kernels), words_((cols_ + 63) / 64), bits_(packed<uint64_t>(weight, signs, words_)) {}

  size_t bytes() const override { return bits_.size_bytes() + scale_.size() * sizeof(float); }

  void run(const float* x, size_t batch, const Epilogue& epilogue, float* y, Pool& pool) const override {
    // An odd number of cache lines, so that several vectors share no set.
    const size_t step = ((words_ + 7) / 8 | 1) * 8, head = (batch * sizeof(size_t) + 63) / 64 * 64;
    uint8_t* memory = static_cast<uint8_t*>(pool.shared(head + 2 * batch * step * sizeof(uint64_t)));
    size_t* counts = reinterpret_cast<size_t*>(memory);
    uint64_t *negative = reinterpret_cast<uint64_t*>(memory + head), *present = negative + batch * step;
    const bool worth = rows_ * cols_ * batch > kWorthSigns;
    pool.run(batch, [&](size_t b, int) { counts[b] = kernels_.pack(x + b * cols_, cols_, negative + b * step, present + b * step); }, worth);
    pool.run(blocks_, [&](size_t block, int) {
      int32_t differing[kBinaryVectors * kBinaryRows];
      for (size_t b = 0; b < batch; b += kBinaryVectors) {
        const int count = int(std::min<size_t>(kBinaryVectors, batch - b));
        const bool whole = std::all_of(counts + b, counts + b + count, [&](size_t one) { return one == cols_; });
        kernels_.differing(bits_.data() + block * words_ * kBinaryRows, words_, negative + b * step, whole ? nullptr : present + b * step, step, count, differing);
        const size_t row = block * kBinaryRows, end = std::min(rows_, row + kBinaryRows);
        for (int v = 0; v < count; ++v) {
          const int32_t all = int32_t(counts[b + size_t(v)]);
          for (size_t r = row; r < end; ++r) store(r, float(all - 2 * differing[size_t(v) * kBinaryRows + r - row]), b + size_t(v), epilogue, y);
        }
      }
    }, worth);
  }

 private:
  size_t words_;
  AlignedVector<uint64_t> bits_;
};

}  // namespace

void add_binary_kernels(const Matrix& weight, const KernelRequest& request, LinearKernels& found) {
  const BinaryKernels kernels = binary_kernels(request.cpu);
  const std::string lookup = std::string("binary/") + kernels.floats, xnor = std::string("xnor/") + kernels.signs;
  const bool wants_xnor = request.signs && request.wants(xnor);
  if (!wants_xnor && !request.wants(lookup)) return;
  const Signs signs(weight);
  if (!signs.fits) return;
  if (wants_xnor) found.push_back(std::make_unique<XnorLinear>(weight, signs, xnor, kernels));
  if (request.wants(lookup)) found.push_back(std::make_unique<LookupLinear>(weight, signs, lookup, kernels));
}

}  // namespace tersenet
