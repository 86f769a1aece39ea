// MD5 (RFC 1321) of several streams side by side. Each of the 64 steps of a block needs the one before, so one stream
// takes four or five cycles per step whatever the processor could do beside it: the lanes of a vector are streams, and
// 2 to 16 of them take the time of one.
#include "simd.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

constexpr uint32_t sines[64] = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
    0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
    0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
    0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391};
constexpr int turns[4][4] = {{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};

typedef uint32_t Words4 __attribute__((vector_size(16)));
#if defined(__AVX2__)
typedef uint32_t Words8 __attribute__((vector_size(32)));
#endif
#if defined(__AVX512F__)
typedef uint32_t Words16 __attribute__((vector_size(64)));
#endif

// sum + f(b, c, d) of a round, with as few operations as can be between b, which comes last, and the result.
template <int round, class V>
STARSKOPE_INLINE V mixed(V sum, V b, V c, V d) {
    if constexpr (round == 0) {
        return sum + (d ^ (b & (c ^ d)));
    } else if constexpr (round == 1) {
        return sum + (c & ~d) + (b & d); // no bit is in both
    } else if constexpr (round == 2) {
        return sum + (b ^ (c ^ d));
    } else {
        return sum + (c ^ (b | ~d));
    }
}

#if defined(__AVX512VL__)
// f as a table of its values. With b, which comes last, in another place than the first, this takes a cycle longer.
constexpr int truth[4] = {0xca, 0xe4, 0x96, 0x39};

template <int round>
STARSKOPE_INLINE Words4 mixed(Words4 sum, Words4 b, Words4 c, Words4 d) {
    return sum + (Words4)_mm_ternarylogic_epi32((__m128i)b, (__m128i)c, (__m128i)d, truth[round]);
}

template <int round>
STARSKOPE_INLINE Words8 mixed(Words8 sum, Words8 b, Words8 c, Words8 d) {
    return sum + (Words8)_mm256_ternarylogic_epi32((__m256i)b, (__m256i)c, (__m256i)d, truth[round]);
}

template <int round>
STARSKOPE_INLINE Words16 mixed(Words16 sum, Words16 b, Words16 c, Words16 d) {
    return sum + (Words16)_mm512_ternarylogic_epi32((__m512i)b, (__m512i)c, (__m512i)d, truth[round]);
}
#endif

template <int i, class V>
STARSKOPE_INLINE void step(V& a, V b, V c, V d, const V* word) {
    constexpr int round = i / 16, turn = turns[round][i % 4];
    constexpr int at = (round == 0 ? i : round == 1 ? 5 * i + 1 : round == 2 ? 3 * i + 5 : 7 * i) % 16;
    const V sum = mixed<round>(a + (word[at] + sines[i]), b, c, d);
    a = ((sum << turn) | (sum >> (32 - turn))) + b;
}

template <int i, class V>
STARSKOPE_INLINE void steps(V& a, V& b, V& c, V& d, const V* word) {
    step<i>(a, b, c, d, word);
    step<i + 1>(d, a, b, c, word);
    step<i + 2>(c, d, a, b, word);
    step<i + 3>(b, c, d, a, word);
    if constexpr (i + 4 < 64) {
        steps<i + 4>(a, b, c, d, word);
    }
}

template <class V>
STARSKOPE_INLINE void add_block(V* state, const V* word) {
    V a = state[0], b = state[1], c = state[2], d = state[3];
    steps<0>(a, b, c, d, word);
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
}

STARSKOPE_INLINE uint32_t word_of(const unsigned char* p) {
    uint32_t word;
    __builtin_memcpy(&word, p, 4);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap32(word);
#endif
    return word;
}

STARSKOPE_INLINE Words4 four_of(const unsigned char* p) {
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return Words4{word_of(p), word_of(p + 4), word_of(p + 8), word_of(p + 12)};
#else
    Words4 words;
    __builtin_memcpy(&words, p, sizeof words);
    return words;
#endif
}

// Four words of each of streams k, k + 4, ... , one after the other.
STARSKOPE_INLINE void gather(Words4& to, const unsigned char* const* data, size_t at) {
    to = four_of(data[0] + at);
}

STARSKOPE_INLINE void transpose(Words4* row) {
    const Words4 a = __builtin_shufflevector(row[0], row[1], 0, 4, 1, 5);
    const Words4 b = __builtin_shufflevector(row[0], row[1], 2, 6, 3, 7);
    const Words4 c = __builtin_shufflevector(row[2], row[3], 0, 4, 1, 5);
    const Words4 d = __builtin_shufflevector(row[2], row[3], 2, 6, 3, 7);
    row[0] = __builtin_shufflevector(a, c, 0, 1, 4, 5);
    row[1] = __builtin_shufflevector(a, c, 2, 3, 6, 7);
    row[2] = __builtin_shufflevector(b, d, 0, 1, 4, 5);
    row[3] = __builtin_shufflevector(b, d, 2, 3, 6, 7);
}

#if defined(__AVX2__)
STARSKOPE_INLINE void gather(Words8& to, const unsigned char* const* data, size_t at) {
    to = __builtin_shufflevector(four_of(data[0] + at), four_of(data[4] + at), 0, 1, 2, 3, 4, 5, 6, 7);
}

STARSKOPE_INLINE void transpose(Words8* row) {
    const __m256i a = _mm256_unpacklo_epi32((__m256i)row[0], (__m256i)row[1]);
    const __m256i b = _mm256_unpackhi_epi32((__m256i)row[0], (__m256i)row[1]);
    const __m256i c = _mm256_unpacklo_epi32((__m256i)row[2], (__m256i)row[3]);
    const __m256i d = _mm256_unpackhi_epi32((__m256i)row[2], (__m256i)row[3]);
    row[0] = (Words8)_mm256_unpacklo_epi64(a, c);
    row[1] = (Words8)_mm256_unpackhi_epi64(a, c);
    row[2] = (Words8)_mm256_unpacklo_epi64(b, d);
    row[3] = (Words8)_mm256_unpackhi_epi64(b, d);
}
#endif

#if defined(__AVX512F__)
STARSKOPE_INLINE void gather(Words16& to, const unsigned char* const* data, size_t at) {
    __m512i all = _mm512_castsi128_si512((__m128i)four_of(data[0] + at));
    all = _mm512_inserti32x4(all, (__m128i)four_of(data[4] + at), 1);
    all = _mm512_inserti32x4(all, (__m128i)four_of(data[8] + at), 2);
    to = (Words16)_mm512_inserti32x4(all, (__m128i)four_of(data[12] + at), 3);
}

STARSKOPE_INLINE void transpose(Words16* row) {
    const __m512i a = _mm512_unpacklo_epi32((__m512i)row[0], (__m512i)row[1]);
    const __m512i b = _mm512_unpackhi_epi32((__m512i)row[0], (__m512i)row[1]);
    const __m512i c = _mm512_unpacklo_epi32((__m512i)row[2], (__m512i)row[3]);
    const __m512i d = _mm512_unpackhi_epi32((__m512i)row[2], (__m512i)row[3]);
    row[0] = (Words16)_mm512_unpacklo_epi64(a, c);
    row[1] = (Words16)_mm512_unpackhi_epi64(a, c);
    row[2] = (Words16)_mm512_unpacklo_epi64(b, d);
    row[3] = (Words16)_mm512_unpackhi_epi64(b, d);
}
#endif

// Up to as many streams as V has lanes; what is left of them repeats the first stream.
template <class V>
void side_by_side(const Md5Job& job, size_t first, size_t n_stream) {
    constexpr size_t n_lane = sizeof(V) / 4;
    const unsigned char* data[n_lane];
    V state[4];
    for (size_t lane = 0; lane < n_lane; ++lane) {
        const size_t stream = first + (lane < n_stream ? lane : 0);
        data[lane] = job.data[stream];
        for (int k = 0; k < 4; ++k) {
            state[k][lane] = job.state[stream][k];
        }
    }
    for (size_t block = 0; block < job.n_block; ++block) {
        // All of a line at once: buffers begin on pages, so that the same lines of all of them share a set of the
        // cache.
        V row[4][4], word[16];
        for (size_t k = 0; k < 4; ++k) {
            for (size_t quarter = 0; quarter < 4; ++quarter) {
                gather(row[quarter][k], data + k, md5_block_bytes * block + 16 * quarter);
            }
        }
        for (int quarter = 0; quarter < 4; ++quarter) {
            transpose(row[quarter]);
            for (int k = 0; k < 4; ++k) {
                word[4 * quarter + k] = row[quarter][k];
            }
        }
        add_block(state, word);
    }
    for (size_t lane = 0; lane < n_stream; ++lane) {
        for (int k = 0; k < 4; ++k) {
            job.state[first + lane][k] = state[k][lane];
        }
    }
}

// A single stream: rotations of plain words take one cycle, those of vectors two.
void alone(const unsigned char* data, size_t n_block, uint32_t* state) {
    for (size_t block = 0; block < n_block; ++block) {
        uint32_t word[16];
        for (size_t k = 0; k < 16; ++k) {
            word[k] = word_of(data + md5_block_bytes * block + 4 * k);
        }
        add_block(state, word);
    }
}

} // namespace

void md5_blocks(const Md5Job& job) {
    for (size_t first = 0, n_left = job.n_stream; n_left > 0;) {
        size_t n = 1;
        if (n_left == 1) {
            alone(job.data[first], job.n_block, job.state[first]);
#if defined(__AVX512F__)
        } else if (n_left > 8) {
            n = n_left < 16 ? n_left : 16;
            side_by_side<Words16>(job, first, n);
#endif
#if defined(__AVX2__)
        } else if (n_left > 4) {
            n = n_left < 8 ? n_left : 8;
            side_by_side<Words8>(job, first, n);
#endif
        } else {
            n = n_left < 4 ? n_left : 4;
            side_by_side<Words4>(job, first, n);
        }
        first += n;
        n_left -= n;
    }
}

} // namespace starskope::detail::STARSKOPE_VARIANT
