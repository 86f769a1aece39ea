// MD5 (RFC 1321) of streams of bytes that come in pieces, several of them side by side.
//
// For telling whether bytes are those that somebody else summed, never against an adversary.
#pragma once

#include <array>
#include <cstddef>
#include <memory>

#include "starskope/view.hpp"

namespace starskope {

inline constexpr std::size_t max_md5_backlog = std::size_t{1} << 30;

// What streams share whose bytes are hashed side by side, up to 16 in the lanes of one thread: a step of MD5 waits for
// the one before, so that several streams take the time of one. Each keeps a backlog of bytes not yet hashed; the first
// whose backlog is full hashes a piece of everybody's. So nobody waits for bytes that may not come, and a stream that
// has no company is hashed straight. No thread is made here.
//
// It must outlive the streams that were given it. After a fork the child may not use those that the parent made.
class Md5Lanes {
  public:
    // Most bytes that a stream keeps, up to max_md5_backlog, in whole blocks of 64; below that, none. They are had when
    // first needed. Throws std::invalid_argument above that.
    explicit Md5Lanes(std::size_t backlog_bytes = std::size_t{1} << 20);
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
    ~Md5();
    Md5(const Md5&) = delete;
    Md5& operator=(const Md5&) = delete;

    // Adds the next bytes, (n,) of any alignment, which may be freed or overwritten on return. Throws
    // std::invalid_argument for a null view with a size, std::bad_alloc when there is no memory for the backlog; then
    // nothing was added.
    void update(View1<const unsigned char> bytes);

    // The digest of all bytes so far; more may follow.
    std::array<unsigned char, 16> digest();

  private:
    friend class Md5Lanes;
    struct Stream;
    std::unique_ptr<Stream> stream_;
};

} // namespace starskope
