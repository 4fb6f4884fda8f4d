// layer_epilogue.h - what a layer does to its sums before it stores them, row by row (row = output feature or channel):
//
//   y = activate(acc * scale[row] + shift[row] + residual)
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace tersenet {

enum class Activation : uint8_t { none, clamp, leaky };  // relu is clamp to [0, inf), relu6 to [0, 6]

struct Epilogue {
  const float* scale = nullptr;     // rows, or null for 1
  const float* shift = nullptr;     // rows, or null for 0
  const float* residual = nullptr;  // laid out as y, or null
  Activation activation = Activation::none;
  float low = 0, high = 0;          // clamp: min(max(y, low), high), NaN stays NaN; leaky: y < 0 ? low * y : y
};

// The scalar meaning of an epilogue, for one element. Static: each column of kernels keeps its own copy.
static inline float finish(const Epilogue& epilogue, size_t row, float acc, float residual) {
  float y = epilogue.scale ? acc * epilogue.scale[row] : acc;
  if (epilogue.shift) y += epilogue.shift[row];
  y += residual;
  if (epilogue.activation == Activation::clamp) {
    y = y < epilogue.low ? epilogue.low : y > epilogue.high ? epilogue.high : y;
  } else if (epilogue.activation == Activation::leaky) {
    y = y < 0 ? epilogue.low * y : y;
  }
  return y;
}

}  // namespace tersenet
