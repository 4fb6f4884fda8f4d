// file.h - the sections of a .terse file, their checksums compared, as tersenet/container/file.py reads them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tersenet/runtime/graph.h"
#include "tersenet/storage_tree.h"

namespace tersenet {

// The CRC-32 of zlib and PNG.
uint32_t crc32(const uint8_t* data, size_t size);

// A file whose bytes stay where they are. Refuses damage, unknown versions, and more decoded bytes than max_bytes.
struct TerseFile {
  Graph graph;
  std::vector<uint8_t> unpacked;     // of a packed file: its graph and the structure of its weights
  std::vector<StorageTree> tensors;  // one for each parameter of the graph, pointing into the file and what was unpacked
  uint64_t decoded_bytes = 0;
};

TerseFile read_terse(const uint8_t* data, size_t size, uint64_t max_bytes);

// What a file may decode to unless the caller says otherwise: 1000 times its length, 64 MiB to 16 GiB.
uint64_t default_limit(uint64_t file_bytes);

}  // namespace tersenet
