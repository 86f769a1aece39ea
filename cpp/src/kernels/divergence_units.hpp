// Unit types and their random numbers, with rows of the batch in the lanes: sigmoid, Philox and normal numbers. A
// number depends on its address (key, epoch, batch, draw, row, unit) alone; src/starskope/learn/draws.py tells what
// that is.
#pragma once

#include "divergence_job.hpp"
#include "divergence_tile.hpp"

namespace starskope::detail::STARSKOPE_VARIANT {
namespace {

// e^x for |x| <= 80, within 2e-7: 2^n times the Taylor series on |r| <= ln 2 / 2.
STARSKOPE_INLINE Floats exponential(Floats x) {
    const Floats shift = splat(12582912.0f); // 1.5 * 2^23: whole numbers end up in the lowest bits
    const Floats shifted = multiply_add(x, splat(1.4426950408889634f), shift);
    const Floats n = shifted - shift;
    // ln 2 in two parts: the first has few digits, so that its product with a whole number is exact.
    Floats r = multiply_add(n, splat(-0.693359375f), x);
    r = multiply_add(n, splat(2.12194440e-4f), r);
    Floats p = splat(1.0f / 5040.0f);
    p = multiply_add(p, r, splat(1.0f / 720.0f));
    p = multiply_add(p, r, splat(1.0f / 120.0f));
    p = multiply_add(p, r, splat(1.0f / 24.0f));
    p = multiply_add(p, r, splat(1.0f / 6.0f));
    p = multiply_add(p, r, splat(0.5f));
    p = multiply_add(p * r, r, r) + splat(1.0f);
    return (Floats)((Ints)p + ((Ints)shifted << 23));
}

// Keeps NaN: comparisons with it are false.
STARSKOPE_INLINE Floats clamped(Floats x, float limit) {
    const Floats high = splat(limit), low = splat(-limit);
    x = x > high ? high : x;
    return x < low ? low : x;
}

STARSKOPE_INLINE Floats sigmoid(Floats x) {
    return splat(1.0f) / (splat(1.0f) + exponential(-clamped(x, 80.0f)));
}

// ln x for normal x > 0: the exponent times ln 2 and a series in (m - 1) / (m + 1) for sqrt(1/2) <= m < sqrt(2).
STARSKOPE_INLINE Floats logarithm(Floats x) {
    const Ints bits = (Ints)x;
    const Ints exponent = (bits - 0x3F3504F3) >> 23; // 0x3F3504F3 is sqrt(1/2)
    const Floats m = (Floats)(bits - (exponent << 23));
    const Floats n = __builtin_convertvector(exponent, Floats);
    const Floats f = m - splat(1.0f), s = f / (splat(1.0f) + m), z = s * s;
    Floats p = splat(2.0f / 11.0f);
    p = multiply_add(p, z, splat(2.0f / 9.0f));
    p = multiply_add(p, z, splat(2.0f / 7.0f));
    p = multiply_add(p, z, splat(2.0f / 5.0f));
    p = multiply_add(p, z, splat(2.0f / 3.0f));
    // 2 s + s z p = f - s (f - z p): the largest term is exact.
    const Floats small = multiply_add(n, splat(-2.12194440e-4f), -(s * (f - z * p)));
    return multiply_add(n, splat(0.693359375f), f + small);
}

struct SineCosine {
    Floats sine, cosine;
};

// Of an angle in turns, 0 <= turns < 1.
STARSKOPE_INLINE SineCosine sine_cosine(Floats turns) {
    const Floats shift = splat(12582912.0f);
    const Floats shifted = turns * splat(4.0f) + shift;
    const Ints quarter = (Ints)shifted & 3;
    const Floats r = (turns - (shifted - shift) * splat(0.25f)) * splat(6.283185307179586f), z = r * r;
    Floats s = splat(-1.9515295891e-4f);
    s = multiply_add(s, z, splat(8.3321608736e-3f));
    s = multiply_add(s, z, splat(-1.6666654611e-1f));
    s = multiply_add(s * z, r, r);
    Floats c = splat(2.443315711809948e-5f);
    c = multiply_add(c, z, splat(-1.388731625493765e-3f));
    c = multiply_add(c, z, splat(4.166664568298827e-2f));
    c = multiply_add(c * z, z, splat(1.0f) - splat(0.5f) * z);
    const Ints swap = -(quarter & 1);
    const Ints sine = ((Ints)c & swap) | ((Ints)s & ~swap), cosine = ((Ints)s & swap) | ((Ints)c & ~swap);
    return {(Floats)(sine ^ ((quarter & 2) << 30)), (Floats)(cosine ^ (((quarter + 1) & 2) << 30))};
}

STARSKOPE_INLINE Floats square_root(Floats x) {
#if defined(__AVX512F__)
    return (Floats)_mm512_sqrt_ps((__m512)x);
#elif defined(__AVX2__)
    return (Floats)_mm256_sqrt_ps((__m256)x);
#elif defined(__x86_64__)
    return (Floats)_mm_sqrt_ps((__m128)x);
#else
    for (int i = 0; i < lanes; ++i) {
        x[i] = __builtin_sqrtf(x[i]);
    }
    return x;
#endif
}

// Products of the lower halves of 64-bit lanes with a 32-bit number.
STARSKOPE_INLINE ULongs wide_product(ULongs x, uint32_t factor) {
#if defined(__AVX512F__)
    return (ULongs)_mm512_mul_epu32((__m512i)x, _mm512_set1_epi64(factor));
#elif defined(__AVX2__)
    return (ULongs)_mm256_mul_epu32((__m256i)x, _mm256_set1_epi64x(factor));
#elif defined(__x86_64__)
    return (ULongs)_mm_mul_epu32((__m128i)x, _mm_set1_epi64x(factor));
#elif defined(__aarch64__)
    return (ULongs)vmull_n_u32(vmovn_u64((uint64x2_t)x), factor);
#else
    return (x & 0xFFFFFFFFu) * uint64_t(factor);
#endif
}

// The four words of one counter for `lanes` rows: word i is that of unit 4 block + i.
struct RandomWords {
    UInts word[4];
};

// Philox-4x32-10 (Salmon et al. 2011) in 64-bit lanes, whose upper halves may hold anything: products do not see them.
STARSKOPE_INLINE RandomWords random_words(const DivergenceJob& job, size_t row, size_t block) {
    ULongs out[2][4];
    for (int side = 0; side < 2; ++side) {
        ULongs c0, c1, c2, c3;
        for (int i = 0; i < half; ++i) {
            c0[i] = uint32_t((job.draw << 20) + uint32_t(block));
            c1[i] = uint32_t(job.first_row + uint32_t(row) + uint32_t(side * half + i));
            c2[i] = job.batch;
            c3[i] = job.epoch;
        }
        uint32_t k0 = job.key[0], k1 = job.key[1];
#pragma GCC unroll 10
        for (int round = 0; round < 10; ++round) {
            const ULongs p0 = wide_product(c0, 0xD2511F53u), p1 = wide_product(c2, 0xCD9E8D57u);
            c0 = (p1 >> 32) ^ c1 ^ uint64_t(k0);
            c1 = p1;
            c2 = (p0 >> 32) ^ c3 ^ uint64_t(k1);
            c3 = p0;
            k0 += 0x9E3779B9u;
            k1 += 0xBB67AE85u;
        }
        out[side][0] = c0;
        out[side][1] = c1;
        out[side][2] = c2;
        out[side][3] = c3;
    }
    RandomWords words;
    for (int i = 0; i < 4; ++i) {
        // The lower halves of the lanes of both sides.
        const UInts first = (UInts)out[0][i], second = (UInts)out[1][i];
#if defined(__AVX512F__)
        words.word[i] =
            __builtin_shufflevector(first, second, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
#elif defined(__AVX2__)
        words.word[i] = __builtin_shufflevector(first, second, 0, 2, 4, 6, 8, 10, 12, 14);
#else
        words.word[i] = __builtin_shufflevector(first, second, 0, 2, 4, 6);
#endif
    }
    return words;
}

// Numbers of 24 bits from [0, 1).
STARSKOPE_INLINE Floats uniform(UInts words) {
    return __builtin_convertvector((Ints)(words >> 8), Floats) * splat(0x1p-24f);
}

// 1 where a uniform number lies below p, else 0.
STARSKOPE_INLINE Floats coin(UInts words, Floats p) {
    return (Floats)((Ints)(uniform(words) < p) & (Ints)splat(1.0f));
}

// The same for p = sigmoid(x), without its division.
STARSKOPE_INLINE Floats sigmoid_coin(UInts words, Floats x) {
    const Floats u = uniform(words);
    return (Floats)((Ints)(multiply_add(u, exponential(-clamped(x, 80.0f)), u) < splat(1.0f)) & (Ints)splat(1.0f));
}

// Standard normal numbers, two at a time (Box & Muller 1958).
STARSKOPE_INLINE SineCosine two_normals(UInts first, UInts second) {
    // From (0, 1], so that the logarithm is finite.
    const Floats u = uniform(first) + splat(0x1p-24f);
    const Floats radius = square_root(splat(-2.0f) * logarithm(u));
    const SineCosine angle = sine_cosine(uniform(second));
    return {radius * angle.sine, radius * angle.cosine};
}

} // namespace
} // namespace starskope::detail::STARSKOPE_VARIANT
