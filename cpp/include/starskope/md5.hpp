// MD5 (RFC 1321) of streams of bytes that come in pieces, several of them side by side.
//
// For telling whether bytes are those that somebody else summed, never against an adversary.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "starskope/view.hpp"

namespace starskope {

// Where threads meet whose pieces are hashed side by side, up to 16 in the lanes of one of them: a step of MD5 waits
// for the one before, so that several streams take the time of one. A thread that comes while nobody hashes begins at
// once and waits for nobody; the others wait while one of them does the work of all. No thread is made here.
//
// Use one for the streams of one CPU. It must outlive the streams that were given it. After a fork the child may only
// use those that it made itself.
class Md5Lanes {
  public:
    Md5Lanes();
    ~Md5Lanes();
    Md5Lanes(const Md5Lanes&) = delete;
    Md5Lanes& operator=(const Md5Lanes&) = delete;

  private:
    friend class Md5;
    class Meeting;
    std::unique_ptr<Meeting> meeting_;
};

// The running sum of one stream; one thread at a time may use it.
class Md5 {
  public:
    explicit Md5(Md5Lanes& lanes);

    // Adds the next bytes, (n,) of any alignment, which may be freed or overwritten on return. Throws
    // std::invalid_argument for a null view with a size.
    void update(View1<const unsigned char> bytes);

    // The digest of all bytes so far; more may follow.
    std::array<unsigned char, 16> digest() const;

  private:
    Md5Lanes* lanes_;
    std::array<std::uint32_t, 4> state_;
    std::array<unsigned char, 64> begun_{}; // the block that is not yet full
    std::uint64_t n_byte_ = 0;
};

} // namespace starskope
