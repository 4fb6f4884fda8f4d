// targets.h - the entry points of the SIMD columns; each is defined in one file of cpp/targets.
#pragma once

#include "tersenet/gaps.h"
#include "tersenet/huffman_kernel.h"
#include "tersenet/kernels/binary.h"
#include "tersenet/kernels/codes.h"
#include "tersenet/kernels/csr.h"
#include "tersenet/kernels/int8.h"
#include "tersenet/kernels/int8_batch.h"
#include "tersenet/kernels/panel.h"
#include "tersenet/kernels/spmm8.h"
#include "tersenet/kernels/tiles8.h"
#include "tersenet/kernels/wsell.h"
#include "tersenet/kernels/wsell8.h"
#include "tersenet/rans_kernel.h"

namespace tersenet {

// Takes a part of the data, perhaps none of it, and returns how many bytes; after them the register is what it is after the 16
// bytes of `folded` alone, from 0.
size_t crc32_fold_avx2(uint32_t state, const uint8_t* data, size_t size, uint8_t* folded);
void huffman_run_bmi2(const HuffmanTable& table, HuffmanLane* lanes, int count);
void gap_columns_avx512(GapRun& run, uint8_t filler, uint64_t begin, uint64_t end);
size_t rans_run_avx512(const RansTable& table, RansRun& run);
PanelKernels panel_kernels_avx2();
PanelKernels panel_kernels_avx512();
PanelKernels panel_kernels_neon();
void add_panel_codes_avx512vnni(PanelCodesKernels& kernels);  // to those of avx512
void wsell_run_avx512(const Wsell& weight, uint32_t from, uint32_t to, const float* x, size_t x_step, int count, float* sums);
uint32_t wsell_pack_avx512(const uint32_t* word, const uint32_t* begin, const uint32_t* end, uint32_t last, uint32_t* base, uint32_t* slot);
Int8Kernels int8_kernels_avx2();
Int8Kernels int8_kernels_avx512vnni();
Int8Kernels int8_kernels_neon();
void add_int8_dotprod(Int8Kernels& kernels);  // to those of neon
// Windows of 64 columns, and weights instead of codes.
void wsell8_run_avx2(const Wsell8& weight, uint32_t from, uint32_t to, const uint8_t* x, size_t x_step, int count, int32_t* sums);
void wsell8_run_neon(const Wsell8& weight, uint32_t from, uint32_t to, const uint8_t* x, size_t x_step, int count, int32_t* sums);
Int8BatchKernels int8_batch_kernels_avx512vnni();
void spmm8_run_avx512vnni(const Spmm8& weight, uint32_t tile, uint32_t from, uint32_t to, const uint8_t* panel, int width, int32_t* acc, bool first);
bool amx_usable();  // on top of avx512vnni
void tiles8_run_amx(const uint64_t* mask, const int8_t* value, uint32_t blocks, uint32_t count, const uint8_t* panel, int width, int32_t* acc, bool first);
void wsell8_run_avx512vnni(const Wsell8& weight, uint32_t from, uint32_t to, const uint8_t* x, size_t x_step, int count, int32_t* sums);
CodesKernels codes_kernels_avx2();
CodesKernels codes_kernels_avx512();
CodesKernels codes_kernels_neon();
void add_codes_avx512vnni(CodesKernels& kernels);  // to those of avx512
// Each overwrites the entries that it speeds up; avx512vnni those of avx512.
void add_binary_avx2(BinaryKernels& kernels);
void add_binary_avx512(BinaryKernels& kernels);
void add_binary_avx512vnni(BinaryKernels& kernels);
void add_binary_neon(BinaryKernels& kernels);
void csr16_run_avx2(const uint32_t* row_start, const void* col, const float* value, uint32_t from, uint32_t to, const float* x, float* sums);
void csr32_run_avx2(const uint32_t* row_start, const void* col, const float* value, uint32_t from, uint32_t to, const float* x, float* sums);
void csr16_run_neon(const uint32_t* row_start, const void* col, const float* value, uint32_t from, uint32_t to, const float* x, float* sums);
void csr32_run_neon(const uint32_t* row_start, const void* col, const float* value, uint32_t from, uint32_t to, const float* x, float* sums);

}  // namespace tersenet
