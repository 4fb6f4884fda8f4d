// grid.h - codebooks that are grids: a byte as a float, a subtraction and a multiplication instead of a look-up.
#pragma once

#include <algorithm>
#include <optional>
#include <vector>

namespace tersenet {

struct Grid {
  float step, zero;
};

// The step and the zero of a codebook whose entry c is (c - zero) * step to the last bit; none where there is none.
inline std::optional<Grid> grid_of(const std::vector<float>& codebook) {
  const auto zero = std::find(codebook.begin(), codebook.end(), 0.0f);
  if (zero == codebook.end() || codebook.size() < 2) return {};
  const size_t z = size_t(zero - codebook.begin());
  const float step = z + 1 < codebook.size() ? codebook[z + 1] : -codebook[z - 1];
  for (size_t c = 0; c < codebook.size(); ++c) {
    if ((float(c) - float(z)) * step != codebook[c]) return {};
  }
  return Grid{step, float(z)};
}

}  // namespace tersenet
