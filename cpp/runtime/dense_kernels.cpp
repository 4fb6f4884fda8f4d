#include "tersenet/runtime/layer.h"

namespace tersenet {
namespace {

class PlainLinear : public LinearKernel {
 public:
  explicit PlainLinear(const Matrix& weight) : rows_(weight.rows), cols_(weight.cols), weight_(dense_values(weight)) {}
  const char* name() const override { return "dense/scalar"; }
  bool exact() const override { return true; }
  size_t bytes() const override { return weight_.size() * sizeof(float); }

  void run(const float* x, size_t batch, const Epilogue& epilogue, float* y, Pool& pool) const override {
    pool.run(batch, [&](size_t b, int) {
      for (size_t r = 0; r < rows_; ++r) {
        float acc = 0;
        for (size_t c = 0; c < cols_; ++c) acc += weight_[r * cols_ + c] * x[b * cols_ + c];
        const size_t at = b * rows_ + r;
        y[at] = finish(epilogue, r, acc, epilogue.residual ? epilogue.residual[at] : 0.0f);
      }
    });
  }

 private:
  size_t rows_, cols_;
  std::vector<float> weight_;
};

class PlainConv : public ConvKernel {
 public:
  PlainConv(const Matrix& weight, const ConvShape& shape) : shape_(shape), weight_(dense_values(weight)) {}
  const char* name() const override { return "dense/scalar"; }
  bool exact() const override { return true; }
  size_t bytes() const override { return weight_.size() * sizeof(float); }

  void run(const float* x, size_t batch, const Epilogue& epilogue, float* y, Pool& pool) const override {
    const ConvShape& s = shape_;
    pool.run(batch * s.out_channels, [&](size_t chunk, int) {
      const size_t image = chunk / s.out_channels, row = chunk % s.out_channels;
      const size_t inner = s.in_channels / s.groups, group = row / (s.out_channels / s.groups);
      const float* from = x + (image * s.in_channels + group * inner) * s.in_h * s.in_w;
      const float* w = weight_.data() + row * inner * s.kernel_h * s.kernel_w;
      for (size_t i = 0; i < size_t(s.out_h) * s.out_w; ++i) {
        const size_t at = chunk * s.out_h * s.out_w + i;
        y[at] = finish(epilogue, row, at_pixel(from, w, inner, i / s.out_w, i % s.out_w), epilogue.residual ? epilogue.residual[at] : 0.0f);
      }
    });
  }

 private:
  ConvShape shape_;
  std::vector<float> weight_;

  float at_pixel(const float* x, const float* w, size_t channels, size_t oy, size_t ox) const {
    const ConvShape& s = shape_;
    float acc = 0;
    for (size_t c = 0; c < channels; ++c) {
      for (size_t ky = 0; ky < s.kernel_h; ++ky) {
        const int64_t iy = int64_t(oy * s.stride_h + ky * s.dilation_h) - int64_t(s.pad_top);
        for (size_t kx = 0; kx < s.kernel_w; ++kx, ++w) {
          const int64_t ix = int64_t(ox * s.stride_w + kx * s.dilation_w) - int64_t(s.pad_left);
          if (iy < 0 || ix < 0 || iy >= int64_t(s.in_h) || ix >= int64_t(s.in_w)) continue;
          acc += *w * x[(c * s.in_h + size_t(iy)) * s.in_w + size_t(ix)];
        }
      }
    }
    return acc;
  }
};

}  // namespace

void add_dense_kernels(const Matrix& weight, Cpu, LinearKernels& found) { found.push_back(std::make_unique<PlainLinear>(weight)); }

void add_dense_kernels(const Matrix& weight, const ConvShape& shape, Cpu, ConvKernels& found) {
  found.push_back(std::make_unique<PlainConv>(weight, shape));
}

}  // namespace tersenet
