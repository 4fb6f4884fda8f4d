// The Huffman loop again with the shifts of BMI2, which take any register and leave the flags.
#if defined(TERSENET_AVX2)
#include "tersenet/huffman_loop.h"
#include "tersenet/targets.h"

namespace tersenet {

void huffman_run_bmi2(const HuffmanTable& table, HuffmanLane* lanes, int count) {
  huffman_run(table, lanes, count);
}

}  // namespace tersenet
#endif
