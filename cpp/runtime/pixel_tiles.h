// pixel_tiles.h - the output pixels of a convolution in panels of 64, and where each tap of them lies in a PhasedImage.
//
// Items are four bytes: a float, or four channels of eight bits (kernels/int8.h).
#pragma once

#include <cstring>
#include <vector>

#include "phased_image.h"

namespace tersenet {

class PixelTiles {
 public:
  PixelTiles(const ConvShape& shape, const PhasedImage& image)
      : pointwise_(shape.kernel_h == 1 && shape.kernel_w == 1 && shape.stride_h == 1 && shape.stride_w == 1 && !shape.pad_top && !shape.pad_left && !shape.pad_bottom && !shape.pad_right), area_(shape.in_h * shape.in_w) {
    const uint32_t width = pointwise_ ? shape.in_h * shape.in_w : shape.out_w, pixels = shape.out_h * shape.out_w;
    for (uint32_t p = 0; p < pixels; p += kPanel) {
      first_.push_back(uint32_t(segments_.size()));
      const uint32_t end = std::min(pixels, p + kPanel);
      for (uint32_t at = p; at < end;) {
        const uint32_t count = std::min(end - at, width - at % width);
        segments_.push_back({at - p, count, pointwise_ ? at : uint32_t(at / width * image.width() + at % width)});
        at += count;
      }
    }
    first_.push_back(uint32_t(segments_.size()));
    for (uint32_t c = 0; c < shape.in_channels / shape.groups; ++c) {
      for (uint32_t ky = 0; ky < shape.kernel_h; ++ky) {
        for (uint32_t kx = 0; kx < shape.kernel_w; ++kx) tap_.push_back(uint32_t(image.at(c, size_t(ky) * shape.dilation_h, size_t(kx) * shape.dilation_w)));
      }
    }
  }

  const PanelSegment* segments(size_t tile) const { return segments_.data() + first_[tile]; }
  const uint32_t* taps() const { return tap_.data(); }  // of each row of a panel
  size_t count() const { return first_.size() - 1; }
  // Whether pixels are read where they are, without a padded copy of the image.
  bool pointwise() const { return pointwise_; }
  size_t bytes() const { return tap_.size() * sizeof(uint32_t) + segments_.size() * sizeof(PanelSegment); }

  // Rows [from, from + depth) of the panel of one tile, kPanel items apart; a row is an input channel's tap.
  void gather(const PanelKernels& kernels, const float* image, size_t tile, uint32_t from, uint32_t depth, float* panel) const {
    const PanelSegment *const first = segments_.data() + first_[tile], *const last = segments_.data() + first_[tile + 1] - 1;
    // Lanes of the last vector that no pixel fills: what lies there may be denormal, which a multiplication takes long for.
    const size_t width = last->to + last->count, rest = (kWhole - width % kWhole) % kWhole;
    for (uint32_t k = 0; k < depth && rest; ++k) std::memset(panel + size_t(k) * kPanel + width, 0, rest * sizeof(float));
    const uint32_t* tap = tap_.data() + from;
    // Behind the last pixels of an image that was not copied nothing may be read: the last channels, as they are.
    const uint32_t exact = pointwise_ && first->count < kPanel ? std::min(depth, kPanel / area_ + 1) : 0;
    kernels.gather(image, tap, depth - exact, first, size_t(last + 1 - first), panel);
    for (uint32_t k = depth - exact; k < depth; ++k) std::memcpy(panel + size_t(k) * kPanel, image + tap[k] + first->from, first->count * sizeof(float));
  }

 private:
  static constexpr size_t kWhole = 16;  // a multiple of every column's lanes
  bool pointwise_;
  uint32_t area_;  // input pixels of a channel
  std::vector<PanelSegment> segments_;
  std::vector<uint32_t> first_;  // segment of each tile
  std::vector<uint32_t> tap_;    // of each column of the matrix
};

}  // namespace tersenet
