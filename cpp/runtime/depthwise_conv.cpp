// One input channel for each output channel, or for a few of them: nothing to multiply but 9 taps or so.
#include "depthwise_conv.h"

#include <algorithm>
#include <cstring>

#include "panel_matrix.h"

namespace tersenet {
namespace {

constexpr size_t kWorthThreads = 250000;  // multiplications: about 15 us of one thread
constexpr size_t kNearFloats = 4096;      // that stay in a first-level cache
constexpr size_t kSlack = 64;             // floats behind an image that vectors may read

class DepthwiseConv : public ConvKernel {
 public:
  DepthwiseConv(const Matrix& weight, const ConvShape& shape, const PanelKernels& kernels)
      : name_(std::string("depthwise/") + kernels.column), shape_(shape), kernels_(kernels), weight_(dense_values(weight)) {
    width_ = shape.in_w + shape.pad_left + shape.pad_right;
    for (uint32_t ky = 0; ky < shape.kernel_h; ++ky) {
      for (uint32_t kx = 0; kx < shape.kernel_w; ++kx) tap_.push_back(size_t(ky) * shape.dilation_h * width_ + size_t(kx) * shape.dilation_w);
    }
    const size_t reach = size_t(shape.dilation_h) * (shape.kernel_h - 1) + 1, fit = kNearFloats / width_;
    strip_ = fit < reach + 3 * shape.stride_h ? 4 : (fit - reach) / shape.stride_h + 1;
    if (strip_ < shape.out_h) strip_ = strip_ / 4 * 4;  // as the kernel takes them
    strip_ = std::min<size_t>(strip_, shape.out_h);
    strip_size_ = ((strip_ - 1) * shape.stride_h + reach) * width_;
    together_ = strip_ < shape.out_h ? 1 : std::max<size_t>(1, kNearFloats / strip_size_);
  }

  const char* name() const override { return name_.c_str(); }
  size_t bytes() const override { return weight_.size() * sizeof(float) + tap_.size() * sizeof(size_t); }

  // Some rows of a channel at a time, or some channels: what was just written in pieces is not to be read in whole
  // vectors at once, and is to be near all the same.
  void run(const float* x, size_t batch, const Epilogue& epilogue, float* y, Pool& pool) const override {
    const ConvShape& s = shape_;
    const size_t area = size_t(s.out_h) * s.out_w, in_area = size_t(s.in_h) * s.in_w, each = s.out_channels / s.groups, channels = batch * s.in_channels;
    pool.run((channels + together_ - 1) / together_, [&](size_t chunk, int worker) {
      const size_t first = chunk * together_, last = std::min(channels, first + together_);
      float* strips = static_cast<float*>(pool.scratch(worker, scratch_bytes()));
      run_channels(x + first * in_area, first * each, (last - first) * each, epilogue, epilogue.residual ? epilogue.residual + first * each * area : nullptr, y + first * each * area, strips);
    }, batch * s.out_channels * area * tap_.size() > kWorthThreads);
  }

  size_t part_scratch() const override { return shape_.out_channels == shape_.in_channels ? scratch_bytes() : 0; }

  void run_part(const float* x, uint32_t first, uint32_t count, const Epilogue& epilogue, float* y, void* scratch) const override {
    const size_t area = size_t(shape_.out_h) * shape_.out_w, in_area = size_t(shape_.in_h) * shape_.in_w;
    for (size_t done = 0; done < count; done += together_) {
      run_channels(x + done * in_area, first + done, std::min(together_, count - done), epilogue, epilogue.residual ? epilogue.residual + done * area : nullptr, y + done * area,
                   static_cast<float*>(scratch));
    }
  }

 private:
  std::string name_;
  ConvShape shape_;
  PanelKernels kernels_;
  std::vector<float> weight_;
  std::vector<size_t> tap_;
  size_t width_;       // of a row of the image with its padding
  size_t strip_;       // output rows made together
  size_t strip_size_;  // floats of the image that they read
  size_t together_;    // channels

  size_t scratch_bytes() const { return (together_ * strip_size_ + kSlack) * sizeof(float); }

  // Outputs [first, first + count), counted through all images, of as many channels as are together; x, y and the residual
  // are theirs.
  void run_channels(const float* x, size_t first, size_t count, const Epilogue& epilogue, const float* residual, float* y, float* strips) const {
    const ConvShape& s = shape_;
    const size_t area = size_t(s.out_h) * s.out_w, in_area = size_t(s.in_h) * s.in_w, each = s.out_channels / s.groups;
    for (size_t oy = 0; oy < s.out_h; oy += strip_) {
      const Depthwise depthwise{tap_.data(), int(tap_.size()), s.stride_h * width_, s.stride_w, std::min<size_t>(strip_, s.out_h - oy), s.out_w};
      for (size_t c = 0; c < count / each; ++c) fill(x + c * in_area, oy, depthwise.rows, strips + c * strip_size_);
      for (size_t k = 0; k < count; ++k) {
        const size_t channel = (first + k) % s.out_channels, at = k * area + oy * s.out_w;
        kernels_.depthwise(depthwise, strips + k / each * strip_size_, weight_.data() + channel * tap_.size(), epilogue, channel, residual ? residual + at : nullptr, y + at);
      }
    }
  }

  // The padded rows that `rows` output rows from `oy` on read.
  void fill(const float* x, size_t oy, size_t rows, float* to) const {
    const ConvShape& s = shape_;
    const size_t from = oy * s.stride_h, end = from + (rows - 1) * s.stride_h + size_t(s.dilation_h) * (s.kernel_h - 1) + 1;
    const size_t begin_image = std::min(std::max<size_t>(from, s.pad_top), end), end_image = std::max(begin_image, std::min<size_t>(end, size_t(s.pad_top) + s.in_h));
    std::memset(to, 0, (end - from) * width_ * sizeof(float));
    kernels_.spread(x + (begin_image - s.pad_top) * s.in_w, end_image - begin_image, s.in_w, to + (begin_image - from) * width_ + s.pad_left, width_);
  }
};

}  // namespace

void add_depthwise_kernel(const Matrix& weight, const ConvShape& shape, const KernelRequest& request, ConvKernels& found) {
  found.push_back(std::make_unique<DepthwiseConv>(weight, shape, panel_kernels(request.cpu)));
}

}  // namespace tersenet
