// aligned.h - memory aligned to 64 bytes, with 64 readable zero bytes behind it, so that a vector load at the
// last element stays inside.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace tersenet {

constexpr size_t kAlign = 64;
constexpr size_t kHugePage = size_t(1) << 21;

class AlignedBytes {
 public:
  AlignedBytes() = default;
  // Not initialised, but for the bytes behind.
  explicit AlignedBytes(size_t size) : size_(size), data_(static_cast<uint8_t*>(::operator new(size + kAlign, alignment()))) {
#if defined(__linux__)
    if (size_ >= kHugePage) madvise(data_, size_ / kHugePage * kHugePage, MADV_HUGEPAGE);  // a hint: may fail
#endif
    std::memset(data_ + size, 0, kAlign);
  }
  AlignedBytes(AlignedBytes&& other) noexcept : size_(std::exchange(other.size_, 0)), data_(std::exchange(other.data_, nullptr)) {}
  AlignedBytes& operator=(AlignedBytes&& other) noexcept {
    std::swap(size_, other.size_);
    std::swap(data_, other.data_);
    return *this;
  }
  ~AlignedBytes() { ::operator delete(data_, alignment()); }

  uint8_t* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  size_t size_ = 0;
  uint8_t* data_ = nullptr;

  // Large blocks begin at a huge page, so that streaming through them does not stop at every 4 KB.
  std::align_val_t alignment() const { return std::align_val_t(size_ >= kHugePage ? kHugePage : kAlign); }
};

// For std::vector: large ones lie on huge pages, and what resize adds is not initialised.
template <class T>
struct BulkAllocator {
  using value_type = T;
  BulkAllocator() = default;
  template <class U>
  BulkAllocator(const BulkAllocator<U>&) {}

  T* allocate(size_t count) {
    const size_t bytes = count * sizeof(T);
    if (bytes < kHugePage) return static_cast<T*>(::operator new(bytes));
    void* found = ::operator new(bytes, std::align_val_t(kHugePage));
#if defined(__linux__)
    madvise(found, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
    return static_cast<T*>(found);
  }
  void deallocate(T* from, size_t count) {
    if (count * sizeof(T) < kHugePage) return ::operator delete(from);
    ::operator delete(from, std::align_val_t(kHugePage));
  }
  template <class U>
  void construct(U* at) { ::new (static_cast<void*>(at)) U; }
  template <class U, class... Given>
  void construct(U* at, Given&&... given) { ::new (static_cast<void*>(at)) U(std::forward<Given>(given)...); }

  friend bool operator==(const BulkAllocator&, const BulkAllocator&) { return true; }
  friend bool operator!=(const BulkAllocator&, const BulkAllocator&) { return false; }
};

template <class T>
using BulkVector = std::vector<T, BulkAllocator<T>>;

struct Uninitialised {};

// A vector of T on such memory; zero unless it is made Uninitialised.
template <class T>
class AlignedVector {
 public:
  AlignedVector() = default;
  explicit AlignedVector(size_t count) : count_(count), bytes_(count * sizeof(T)) { if (count) std::memset(bytes_.data(), 0, count * sizeof(T)); }

  AlignedVector(size_t count, Uninitialised) : count_(count), bytes_(count * sizeof(T)) {}

  T* data() { return reinterpret_cast<T*>(bytes_.data()); }
  const T* data() const { return reinterpret_cast<const T*>(bytes_.data()); }
  size_t size() const { return count_; }
  size_t size_bytes() const { return count_ * sizeof(T); }
  T& operator[](size_t i) { return data()[i]; }
  const T& operator[](size_t i) const { return data()[i]; }
  T* begin() { return data(); }
  T* end() { return data() + count_; }
  const T* begin() const { return data(); }
  const T* end() const { return data() + count_; }

 private:
  size_t count_ = 0;
  AlignedBytes bytes_;
};

}  // namespace tersenet
