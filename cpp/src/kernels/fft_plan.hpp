// What a Fourier transform does to a block of rows, as plain tables: written once by the planner (src/planner.cpp),
// read by the kernels of every instruction set.
//
// A block holds one complex number per lane in every row (real parts, then imaginary parts). All transforms work in
// place along the rows and leave them in an order of their own; tables say which row holds what, since a row is at
// least a whole cache line and may lie anywhere for free.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace starskope::detail {

// Complex numbers (re, im), rounded to both types.
struct FftTable {
    const float* single = nullptr;
    const double* wide = nullptr;
};

// Elements of an odd prime that are summed up together: their sums stay in registers.
constexpr int prime_elements_at_once = 4;

// Butterflies of one radix: `outer` times `inner` of them, rows `inner` apart within one, blocks of radix * inner rows.
struct FftStage {
    uint32_t radix;
    uint32_t outer;
    uint32_t inner;
    FftTable twiddle; // (inner, radix - 1): exp(-2 pi i t k / (radix * inner)), k from 1; null where inner is 1
    FftTable
        roots; // where the radix has no butterfly of its own, else null: exp(-2 pi i j k / radix) as in prime_roots
};

constexpr int max_fft_stages = 28;

// Transform of `length` neighbouring rows: natural order in, digits of the radices reversed out.
struct FftTile {
    uint32_t length;
    int n_stage;
    FftStage stage[max_fft_stages];
};

// Transform of columns.length * rows.length rows. Sample t + rows.length * i lies in row i * stride + t. Forward: each
// column (t fixed) is transformed, turned by `twiddle`, then each group of rows (i fixed) is. Backward, the same from
// its end: takes the order that forward leaves, gives natural order.
struct FftSplit {
    FftTile columns;
    FftTile rows;
    uint32_t stride;
    uint32_t n_column;      // columns.length times this many rows take part
    const uint32_t* starts; // (n_column,): first row of each column
    FftTable twiddle;       // (rows.length, columns.length), second axis in the order of the rows; null: none
};

// Cyclic convolution with a fixed sequence. What comes out is reversed: row of sample e holds element -e.
struct FftConvolution {
    uint32_t length; // 0: none
    uint32_t n_row;
    FftSplit split;
    FftTable kernel; // (length,), in the order of the rows, divided by length
};

enum class FftGroups { smooth, rader, bluestein };

// Transform of n rows. With n = s P, P the part that holds large primes: s columns by Good and Thomas, then each of the
// s groups is a transform of length P as a convolution.
struct FftPlan {
    uint32_t n;
    uint32_t n_group;    // groups of rows that are transformed after the columns
    uint32_t n_row;      // rows of a block, padding between groups included
    uint32_t n_buffer;   // further rows that a group needs while it is transformed
    uint32_t group_rows; // from one group to the next
    FftGroups groups;
    FftSplit split; // smooth: all; else columns only
    FftConvolution convolution;
    FftTable chirp;           // (P,), Bluestein: exp(-pi i j^2 / P)
    const uint32_t* buffered; // (P,), Bluestein: row of the buffer that takes sample j
    const uint32_t* returned; // (P,), Bluestein: row of the buffer that gives element k
    const uint32_t* place;    // (n,): row that takes sample j
    const uint32_t* row_of;   // (n,): row that holds element k in the end
    const uint32_t* element;  // (n_row,): the element that a row holds in the end, n for padding
};

// Row k of a spectrum needs elements k and n_fft - k.
struct FftPair {
    uint32_t k;
    uint32_t row;
    uint32_t mirror;
};

// Groups whose elements are mirror images of each other, and what can be written once both are transformed.
struct FftBucket {
    uint32_t residue, group;
    uint32_t mirror_residue, mirror_group;
    uint32_t first_pair, end_pair;
};

// Spectrum of n_fft = n_residue * plan.n points of which those from plan.n on are zero: element i + n_residue * k is
// element k of the transform of the samples turned by exp(-2 pi i i j / n_fft), one transform of length n per residue
// i.
struct FftGrid {
    FftPlan plan;
    uint32_t n_fft;
    uint32_t n_residue;
    FftTable phase;           // (n_residue, plan.n_row), in the order of the rows; null for one residue
    const uint32_t* rows;     // (n_fft,): row of element k where the transforms of all residues follow each other
    const FftPair* pairs;     // (n_fft / 2 + 1,), bucket by bucket
    const FftBucket* buckets; // by residue
    uint32_t n_bucket;
};

} // namespace starskope::detail
