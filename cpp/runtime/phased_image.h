// phased_image.h - an image with its padding, split by what its rows and columns leave when divided by the stride, so
// that every tap of a strided convolution reads neighbours from neighbours.
//
//   plane (c, i, j)   rows i, i + stride_h, ... and columns j, j + stride_w, ... of the padded channel c
//   at(c, y, x)       where the tap (y, x) of output pixel (0, 0) is; pixel (oy, ox) is oy * width + ox further on
#pragma once

#include <algorithm>
#include <cstring>

#include "tersenet/kernels/panel.h"
#include "tersenet/runtime/aligned.h"
#include "tersenet/runtime/layer.h"

namespace tersenet {

class PhasedImage {
 public:
  PhasedImage(const ConvShape& shape, const PanelKernels& kernels) : shape_(shape), kernels_(kernels) {
    rows_ = (shape.in_h + shape.pad_top + shape.pad_bottom + shape.stride_h - 1) / shape.stride_h;
    width_ = (shape.in_w + shape.pad_left + shape.pad_right + shape.stride_w - 1) / shape.stride_w;
  }

  size_t width() const { return width_; }
  size_t channel_size() const { return size_t(shape_.stride_h) * shape_.stride_w * rows_ * width_; }
  // Floats behind the last channel that a vector may read.
  static constexpr size_t kSlack = 128;

  size_t at(size_t channel, size_t y, size_t x) const {
    const size_t plane = (channel * shape_.stride_h + y % shape_.stride_h) * shape_.stride_w + x % shape_.stride_w;
    return (plane * rows_ + y / shape_.stride_h) * width_ + x / shape_.stride_w;
  }

  // One channel of in_h x in_w to channel_size() floats; bytes of `padding` around it.
  void fill(const float* x, float* to, uint8_t padding = 0) const {
    const ConvShape& s = shape_;
    const bool padded = s.pad_top || s.pad_bottom || s.pad_left || s.pad_right || s.stride_h > 1 || s.stride_w > 1;
    if (padded) std::memset(to, padding, channel_size() * sizeof(float));
    if (s.stride_h == 1 && s.stride_w == 1) return kernels_.spread(x, s.in_h, s.in_w, to + s.pad_top * width_ + s.pad_left, width_);
    size_t phase_y = s.pad_top % s.stride_h, at = s.pad_top / s.stride_h;
    for (size_t y = 0; y < s.in_h; ++y, x += s.in_w) {
      float* row = to + (phase_y * s.stride_w * rows_ + at) * width_;
      if (++phase_y == s.stride_h) phase_y = 0, ++at;
      if (s.stride_w == 1) {
        kernels_.spread(x, 1, s.in_w, row + s.pad_left, width_);
        continue;
      }
      if (s.stride_w == 2) {
        const size_t odd = s.pad_left % 2, plane = rows_ * width_;  // where the first column goes
        float* first = row + odd * plane + s.pad_left / 2;
        kernels_.split(x, s.in_w, first, row + (odd ? 0 : plane) + (s.pad_left + 1) / 2);
        continue;
      }
      for (size_t phase = 0; phase < s.stride_w; ++phase) {
        const size_t skip = (phase + s.stride_w - s.pad_left % s.stride_w) % s.stride_w;  // the first column of this phase
        float* out = row + phase * rows_ * width_ + (skip + s.pad_left) / s.stride_w;
        for (size_t i = skip; i < s.in_w; i += s.stride_w) *out++ = x[i];
      }
    }
  }

  // Channels one after the other, in_area floats each.
  void fill_all(const float* x, size_t channels, size_t in_area, float* to, Pool& pool, bool worth) const {
    const size_t parts = channels < 16 ? 1 : 16;
    pool.run(parts, [&](size_t part, int) {
      for (size_t i = channels * part / parts; i < channels * (part + 1) / parts; ++i) fill(x + i * in_area, to + i * channel_size());
    }, worth);
  }

 private:
  ConvShape shape_;
  PanelKernels kernels_;
  size_t rows_, width_;
};

}  // namespace tersenet
