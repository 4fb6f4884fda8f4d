// refuse.h - how the core says no: one exception type, which Python sees as a ValueError.
#pragma once

#include <stdexcept>
#include <string>

namespace tersenet {

[[noreturn]] inline void refuse(const std::string& sentence) { throw std::invalid_argument(sentence); }

inline std::string str(unsigned long long value) { return std::to_string(value); }

}  // namespace tersenet
