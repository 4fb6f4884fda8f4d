// lstm.h - one step of an LSTM, gates in PyTorch's order i, f, g, o:
//
//   a = W_ih x + b_ih + W_hh h + b_hh
//   c' = sigmoid(f) c + sigmoid(i) tanh(g)     h' = sigmoid(o) tanh(c')
//
// inputs: x (batch, in), h (batch, hidden), c (batch, hidden); outputs: h', c'.
#pragma once

#include <cmath>

#include "tersenet/runtime/layer.h"
#include "tersenet/runtime/operation.h"

namespace tersenet {

inline float sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }

inline void run_lstm_cell(const LinearKernel& from_input, const LinearKernel& from_hidden, const AlignedVector<float>& input_shift,
                          const AlignedVector<float>& hidden_shift, const Tensors& inputs, const std::vector<Tensor*>& outputs, Pool& pool) {
  const size_t batch = size_t(inputs[1]->spec.shape.size[0]), hidden = size_t(inputs[1]->spec.shape.size[1]);
  AlignedVector<float> first(batch * 4 * hidden), gates(batch * 4 * hidden);
  Epilogue epilogue;
  if (input_shift.size()) epilogue.shift = input_shift.data();
  from_input.run(inputs[0]->f32(), batch, epilogue, first.data(), pool);
  epilogue.shift = hidden_shift.size() ? hidden_shift.data() : nullptr;
  epilogue.residual = first.data();
  from_hidden.run(inputs[1]->f32(), batch, epilogue, gates.data(), pool);
  const float* c = inputs[2]->f32();
  float *next_h = outputs[0]->f32(), *next_c = outputs[1]->f32();
  for (size_t b = 0; b < batch; ++b) {
    const float* a = gates.data() + b * 4 * hidden;
    for (size_t j = 0; j < hidden; ++j) {
      const float cell = sigmoid(a[hidden + j]) * c[b * hidden + j] + sigmoid(a[j]) * std::tanh(a[2 * hidden + j]);
      next_c[b * hidden + j] = cell;
      next_h[b * hidden + j] = sigmoid(a[3 * hidden + j]) * std::tanh(cell);
    }
  }
}

}  // namespace tersenet
