// storage.h - a storage tree to its dense array, bit for bit as tersenet/storage/decode.py does it.
//
//   tree     from StorageTree::parse, whose bytes are still there
//   out      tree.top().bytes() bytes, aligned to 4; all zero, so that untouched pages stay untouched
//   kernels  the coders' columns for this CPU
//
// float16 widens exactly, NaN payloads kept; arithmetic is one float32 multiply or add at a time,
// never contracted (-ffp-contract=off), and a NaN that it gives is written as 0x7fc00000.
// Refuses (std::invalid_argument) damaged streams, indices outside a table and places outside a scatter.
#pragma once

#include <cmath>
#include <cstring>
#include <memory>

#include "tersenet/bits.h"
#include "tersenet/huffman.h"
#include "tersenet/range.h"
#include "tersenet/gaps.h"
#include "tersenet/rans.h"
#include "tersenet/storage_tree.h"
#include "tersenet/transform.h"

namespace tersenet {

// Those that are null have a scalar loop where they are called.
struct CoderKernels {
  HuffmanKernel huffman;
  RansKernel rans;
  GapKernel gaps;
};

// n values below alphabet, in the smallest unsigned type that holds alphabet - 1.
template <class T>
void decode_stream(const StorageNode& node, const CoderKernels& kernels, T* out) {
  if (node.variant == 0) {
    const int width = bit_length(node.alphabet - 1);
    // numel <= 2^48 and width <= 32: no overflow.
    if (node.size != (node.numel * uint64_t(width) + 7) / 8) refuse(str(node.size) + " raw bytes came for " + str(node.numel) + " values of " + str(width) + " bits");
    if (!unpack(node.data, node.numel, width, out)) refuse("padding after the last value is not zero");
    if (node.alphabet == uint64_t(1) << width) return;
    T most = 0;
    for (uint64_t i = 0; i < node.numel; ++i) most = std::max(most, out[i]);
    if (most >= node.alphabet) refuse("a value of " + str(most) + " came; expected below " + str(node.alphabet));
  } else if constexpr (sizeof(T) <= 2) {
    if (node.variant == 1) {
      HuffmanDecoder(node.data, node.size, node.numel, uint32_t(node.alphabet)).run(kernels.huffman, out);
    } else if (node.variant == 3) {
      RangeDecoder(node.data, node.size, node.numel, uint32_t(node.alphabet)).run(out);
    } else {
      RansDecoder(node.data, node.size, node.numel, uint32_t(node.alphabet)).run(kernels.rans, out);
    }
  }
}

// Calls run(T()) with the unsigned type of `item` bytes.
template <class Run>
void with_item(int item, const Run& run) {
  if (item == 1) run(uint8_t());
  if (item == 2) run(uint16_t());
  if (item == 4) run(uint32_t());
}

inline uint32_t half_to_float_bits(uint32_t half) {
  const uint32_t sign = (half & 0x8000) << 16;
  uint32_t exponent = half >> 10 & 31, mantissa = half & 0x3ff;
  if (exponent == 31) return sign | 0x7f800000 | mantissa << 13;
  if (exponent == 0) {
    if (mantissa == 0) return sign;
    exponent = 1;  // a subnormal is mantissa * 2^-24: shift until its top bit is the hidden one
    for (; !(mantissa & 0x400); mantissa <<= 1) --exponent;
    mantissa &= 0x3ff;
  }
  return sign | (exponent + (127 - 15)) << 23 | mantissa << 13;
}

inline float quiet(float x) {
  const uint32_t bits = 0x7fc00000;
  float nan;
  std::memcpy(&nan, &bits, sizeof nan);
  return x == x ? x : nan;
}

class StorageDecoder {
 public:
  StorageDecoder(const StorageTree& tree, const CoderKernels& kernels) : tree_(tree), kernels_(kernels) {}

  void run(void* out) const { decode(tree_.top(), static_cast<uint8_t*>(out), true); }

  // Without initialisation: large ones are pages that are touched once, by what fills them.
  struct Buffer {
    std::unique_ptr<uint32_t[]> words;

    explicit Buffer(uint64_t bytes) : words(new uint32_t[size_t((bytes + 3) / 4)]) {}

    template <class T = uint8_t>
    T* as() const { return reinterpret_cast<T*>(words.get()); }
  };

  const StorageNode& child(const StorageNode& node, size_t i) const { return tree_.nodes[node.children[i]]; }

  Buffer decoded(const StorageNode& node) const {
    Buffer buffer(node.bytes());
    fill(node, buffer);
    return buffer;
  }

  void fill(const StorageNode& node, const Buffer& buffer) const { decode(node, buffer.as(), false); }

  // After this every index may be used without a look.
  static void check_index(const StorageNode& index, const uint8_t* data, uint64_t entries) {
    if (index.alphabet <= entries && index.kind == kIntegers) return;
    with_item(index.item, [&](auto t) {
      const auto* from = reinterpret_cast<const decltype(t)*>(data);
      decltype(t) most = 0;
      for (uint64_t i = 0; i < index.numel; ++i) most = std::max(most, from[i]);
      if (index.numel && most >= entries) refuse("an index of " + str(most) + " into a table of " + str(entries) + " entries");
    });
  }

  // Calls place(where, i) for block i = 0, 1, ..., each `where` below size and above the last one.
  template <class Place>
  void for_places(const StorageNode& node, const uint8_t* symbols, uint64_t blocks, const Place& place) const {
    const StorageNode& position = child(node, 0);
    const uint64_t size = node.shape.size[0];
    uint64_t placed = 0;
    if (node.variant) {
      for (uint64_t where = 0; where < size; ++where) {
        if (!symbols[where]) continue;
        if (placed == blocks) refuse("a scatter names more places than the " + str(blocks) + " values it has");
        place(where, placed++);
      }
    } else {
      const uint64_t filler = position.alphabet - 1;
      with_item(position.item, [&](auto t) {
        const auto* gaps = reinterpret_cast<const decltype(t)*>(symbols);
        uint64_t where = 0;  // below 2^48 + 2^32 before each addition
        for (uint64_t i = 0; i < position.numel; ++i) {
          where += gaps[i];
          if (gaps[i] == filler) {
            where = std::min(where, size);
            continue;
          }
          if (where >= size || placed == blocks) {
            refuse("a scatter names place " + str(where) + " for value " + str(placed) + "; there are " + str(size) + " places and " + str(blocks) + " values");
          }
          place(where++, placed++);
        }
      });
    }
    if (placed != blocks) refuse("a scatter names " + str(placed) + " places for " + str(blocks) + " values");
  }

 private:
  const StorageTree& tree_;
  const CoderKernels& kernels_;

  void decode(const StorageNode& node, uint8_t* out, bool zeroed) const {
    switch (node.kind) {
      case kIntegers: with_item(node.item, [&](auto t) { decode_stream(node, kernels_, reinterpret_cast<decltype(t)*>(out)); }); break;
      case kFloats: floats(node, out); break;
      case kAffine: affine(node, reinterpret_cast<float*>(out)); break;
      case kTable: table(node, out); break;
      case kScatter: scatter(node, out, zeroed); break;
      case kSum: sum(node, out, zeroed); break;
      case kConcat: concat(node, out, zeroed); break;
      case kReshape: decode(child(node, 0), out, zeroed); break;
      case kPermute: permute(node, out); break;
      case kTransform: {
        decode(child(node, 0), out, zeroed);
        float* x = reinterpret_cast<float*>(out);
        inverse_dct(x, node.numel, node.shape.size + node.shape.ndim - node.variant, node.variant);
        for (uint64_t i = 0; i < node.numel; ++i) x[i] = quiet(x[i]);
      }
    }
  }

  void floats(const StorageNode& node, uint8_t* out) const {
    const bool half = node.variant & 1;
    uint32_t* bits = reinterpret_cast<uint32_t*>(out);
    if (!(node.variant & 2)) {
      if (!half) {
        words_from_bytes(node.data, node.numel, bits);
        return;
      }
      for (uint64_t i = 0; i < node.numel; ++i) {
        bits[i] = half_to_float_bits(uint32_t(node.data[2 * i]) | uint32_t(node.data[2 * i + 1]) << 8);
      }
      return;
    }
    Buffer plane(node.numel);
    for (size_t k = 0; k < node.children.size(); ++k) {
      decode_stream(child(node, k), kernels_, plane.as());
      for (uint64_t i = 0; i < node.numel; ++i) {
        bits[i] = (k ? bits[i] : 0) | uint32_t(plane.as()[i]) << (8 * k);
      }
    }
    if (half) {
      for (uint64_t i = 0; i < node.numel; ++i) bits[i] = half_to_float_bits(bits[i]);
    }
  }

  static void words_from_bytes(const uint8_t* data, uint64_t n, uint32_t* out) {
    const uint16_t probe = 1;
    uint8_t little;
    std::memcpy(&little, &probe, 1);
    if (little) {
      if (n) std::memcpy(out, data, size_t(4 * n));
      return;
    }
    for (uint64_t i = 0; i < n; ++i, data += 4) {
      out[i] = uint32_t(data[0]) | uint32_t(data[1]) << 8 | uint32_t(data[2]) << 16 | uint32_t(data[3]) << 24;
    }
  }

  // levels and zero points lie below 2^24, so the difference fits an int32 and is exact as a float.
  void affine(const StorageNode& node, float* out) const {
    const StorageNode &levels = child(node, 0), &zero = child(node, 1), &step = child(node, 2);
    const Buffer level = decoded(levels), zeros = decoded(zero), steps = decoded(step);
    const uint64_t run = node.numel / step.numel;
    with_item(levels.item, [&](auto t) {
      const auto* from = level.as<decltype(t)>();
      float* to = out;
      for (uint64_t s = 0; s < step.numel; ++s, from += run, to += run) {
        const int32_t z = int32_t(at(zeros.as(), zero.item, zero.numel == 1 ? 0 : s));
        const float by = steps.as<float>()[s];
        if (std::isfinite(by)) {
          for (uint64_t i = 0; i < run; ++i) to[i] = float(int32_t(from[i]) - z) * by;
        } else {
          for (uint64_t i = 0; i < run; ++i) to[i] = quiet(float(int32_t(from[i]) - z) * by);
        }
      }
    });
  }

  static uint32_t at(const uint8_t* data, int item, uint64_t i) {
    uint32_t value = 0;
    with_item(item, [&](auto t) { value = reinterpret_cast<const decltype(t)*>(data)[i]; });
    return value;
  }

  void table(const StorageNode& node, uint8_t* out) const {
    const StorageNode &entries = child(node, 0), &index = child(node, 1);
    const Buffer entry = decoded(entries), indices = decoded(index);
    const uint64_t k = entries.shape.size[0];
    check_index(index, indices.as(), k);
    if (node.numel == 0) return;
    const uint64_t block = entries.bytes() / k;  // an index below k is there, so k > 0
    with_item(index.item, [&](auto ti) {
      const auto* from = indices.as<decltype(ti)>();
      if (block == entries.item) {
        with_item(entries.item, [&](auto te) {
          using E = decltype(te);
          const E* values = entry.as<E>();
          E* to = reinterpret_cast<E*>(out);
          for (uint64_t i = 0; i < index.numel; ++i) to[i] = values[from[i]];
        });
        return;
      }
      for (uint64_t i = 0; i < index.numel; ++i) std::memcpy(out + i * block, entry.as() + from[i] * block, size_t(block));
    });
  }

  void scatter(const StorageNode& node, uint8_t* out, bool zeroed) const {
    const StorageNode &position = child(node, 0), &values = child(node, 1);
    if (!zeroed && node.numel) std::memset(out, 0, size_t(node.bytes()));
    const Buffer symbols = decoded(position);
    const uint64_t blocks = values.shape.size[0];
    if (values.kind == kTable && values.shape.ndim == 1 && child(values, 1).shape.ndim == 1) {
      scatter_table(node, symbols.as(), values, out);
      return;
    }
    const Buffer from = decoded(values);
    const uint64_t block = blocks ? values.bytes() / blocks : 0;
    if (block == values.item) {
      with_item(values.item, [&](auto t) {
        using E = decltype(t);
        const E* value = from.as<E>();
        E* to = reinterpret_cast<E*>(out);
        for_places(node, symbols.as(), blocks, [=](uint64_t where, uint64_t i) { to[where] = value[i]; });
      });
      return;
    }
    for_places(node, symbols.as(), blocks, [&](uint64_t where, uint64_t i) {
      if (block) std::memcpy(out + where * block, from.as() + i * block, size_t(block));
    });
  }

  // Deep Compression's layer: the values are looked up as they are placed, never laid out on their own.
  void scatter_table(const StorageNode& node, const uint8_t* symbols, const StorageNode& values, uint8_t* out) const {
    const StorageNode &entries = child(values, 0), &index = child(values, 1);
    const Buffer entry = decoded(entries), indices = decoded(index);
    check_index(index, indices.as(), entries.numel);
    with_item(entries.item, [&](auto te) {
      using E = decltype(te);
      const E* value = entry.as<E>();
      E* to = reinterpret_cast<E*>(out);
      with_item(index.item, [&](auto ti) {
        const auto* from = indices.as<decltype(ti)>();
        for_places(node, symbols, index.numel, [=](uint64_t where, uint64_t i) { to[where] = value[from[i]]; });
      });
    });
  }

  void sum(const StorageNode& node, uint8_t* out, bool zeroed) const {
    decode(child(node, 0), out, zeroed);
    float* total = reinterpret_cast<float*>(out);
    const size_t count = node.children.size();
    for (size_t k = 1; k < count; ++k) {
      const Buffer part = decoded(child(node, k));
      const float* from = part.as<float>();
      for (uint64_t i = 0; i < node.numel; ++i) total[i] += from[i];
    }
    for (uint64_t i = 0; count > 1 && i < node.numel; ++i) total[i] = quiet(total[i]);
  }

  void concat(const StorageNode& node, uint8_t* out, bool zeroed) const {
    uint64_t outer = 1, inner = 1, start = 0;
    for (int i = 0; i < node.variant; ++i) outer *= node.shape.size[i];
    for (int i = node.variant + 1; i < node.shape.ndim; ++i) inner *= node.shape.size[i];
    const uint64_t row = node.shape.size[node.variant] * inner;
    for (size_t k = 0; k < node.children.size(); ++k) {
      const StorageNode& part = child(node, k);
      const uint64_t width = part.shape.size[node.variant] * inner;
      if (outer == 1 && part.item == node.item) {
        decode(part, out + start * node.item, zeroed);
      } else {
        const Buffer from = decoded(part);
        with_item(node.item, [&](auto to_type) {
          with_item(part.item, [&](auto from_type) {
            auto* to = reinterpret_cast<decltype(to_type)*>(out);
            const auto* source = from.as<decltype(from_type)>();
            for (uint64_t o = 0; part.numel && o < outer; ++o) {
              for (uint64_t i = 0; i < width; ++i) to[o * row + start + i] = decltype(to_type)(source[o * width + i]);
            }
          });
        });
      }
      start += width;
    }
  }

  // Walks the result in order; `stride` is how far the source moves for a step along each of its axes.
  void permute(const StorageNode& node, uint8_t* out) const {
    const StorageNode& source = child(node, 0);
    const Buffer from = decoded(source);
    const int ndim = node.shape.ndim;
    uint64_t along[kMaxDims], stride[kMaxDims], at[kMaxDims] = {}, step = 1;
    for (int i = ndim - 1; i >= 0; --i) {
      along[i] = step;
      step *= std::max<uint64_t>(source.shape.size[i], 1);
    }
    for (int i = 0; i < ndim; ++i) stride[i] = along[node.axes[i]];
    with_item(node.item, [&](auto t) {
      using E = decltype(t);
      const E* value = from.as<E>();
      E* to = reinterpret_cast<E*>(out);
      const uint64_t last = ndim ? node.shape.size[ndim - 1] : 1, last_stride = ndim ? stride[ndim - 1] : 0;
      uint64_t base = 0;
      for (uint64_t done = 0; done < node.numel; done += last) {
        for (uint64_t i = 0; i < last; ++i) to[done + i] = value[base + i * last_stride];
        for (int axis = ndim - 2; axis >= 0; --axis) {
          base += stride[axis];
          if (++at[axis] < node.shape.size[axis]) break;
          base -= stride[axis] * node.shape.size[axis];
          at[axis] = 0;
        }
      }
    });
  }
};

}  // namespace tersenet
