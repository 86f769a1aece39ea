// Medians and other ranks of unsorted numbers, exactly and in about one pass: quickselect, and a short cut that looks
// only between two bounds where the rank is expected. No NaN. Private to the entry points.
#pragma once

#include <cstddef>

namespace starskope::detail {

inline constexpr double mad_to_sigma = 1.4826;

// The k-th smallest (from 0) of n values, which are reordered around it.
double ranked(double* values, std::size_t n, std::size_t k);

// Median of n values, which are reordered; NaN of none.
double median(double* values, std::size_t n);

// The same of values that stay as they are, quickly where the rank lies from low to high; any bounds give the same.
// scratch (n + 1) is overwritten.
double ranked_between(const double* values, std::size_t n, std::size_t k, double low, double high, double* scratch);
double median_between(const double* values, std::size_t n, double low, double high, double* scratch);

struct Spread {
    double centre; // median
    double sigma;  // standard deviation from the median absolute deviation
};

// Of n values, which are overwritten by their absolute deviations; scratch (n + 1). What is expected only decides the
// time; NaN: nothing is.
Spread spread(double* values, std::size_t n, Spread expected, double* scratch);

} // namespace starskope::detail
