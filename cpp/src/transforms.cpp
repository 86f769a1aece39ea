#include <cmath>

#include "dispatch.hpp"
#include "planner.hpp"
#include "shapes.hpp"
#include "starskope/fft.hpp"

namespace starskope {
namespace {

using detail::TransformJob;
using detail::TransformKind;

void call(const detail::Kernels& kernels, TransformJob<float>& job) {
    const auto scratch = detail::make_scratch<float>(kernels.transform_scratch(*job.grid));
    job.scratch = scratch.get();
    kernels.transform(job);
}

void call(const detail::Kernels& kernels, TransformJob<double>& job) {
    const auto scratch = detail::make_scratch<double>(kernels.transform_wide_scratch(*job.grid));
    job.scratch = scratch.get();
    kernels.transform_wide(job);
}

const float* numbers(const float* p) {
    return p;
}
const double* numbers(const double* p) {
    return p;
}
// Complex numbers are pairs by the standard (complex.numbers.general).
template <class T>
const T* numbers(const std::complex<T>* p) {
    return reinterpret_cast<const T*>(p);
}
template <class In>
constexpr std::size_t parts = 1;
template <class T>
constexpr std::size_t parts<std::complex<T>> = 2;

template <class T, class In, class Out>
void run(TransformKind kind, Direction direction, View2<const In> data, std::size_t n_fft, View2<Out> out,
         double factor) {
    require_rows(data, "data");
    const bool halves = kind == TransformKind::to_real;
    detail::require_room(data.n_row, halves ? n_fft / 2 + 1 : n_fft, n_fft, "n_fft", halves ? "frequencies" : "times");
    detail::require_shape(out, kind == TransformKind::from_real ? n_fft / 2 + 1 : n_fft, data.n_col, "out");
    if (!std::isfinite(factor)) {
        throw std::invalid_argument("factor=" + std::to_string(factor) + ": expected a finite number");
    }
    if (data.n_col == 0) {
        return;
    }
    const auto grid = detail::plan_fft(n_fft, n_fft);
    TransformJob<T> job;
    job.grid = grid.get();
    job.kind = kind;
    job.backward = direction == Direction::backward;
    job.data = numbers(data.data);
    job.n_in = data.n_row;
    job.n_series = data.n_col;
    job.in_stride = data.n_row > 1 ? data.stride * parts<In> : 0; // that of one row may be any number
    job.out = const_cast<T*>(numbers(out.data));
    job.out_stride = out.n_row > 1 ? out.stride * parts<Out> : 0;
    job.factor = factor;
    call(detail::active(), job);
}

} // namespace

void fft(View2<const std::complex<float>> data, std::size_t n_fft, View2<std::complex<float>> out, Direction direction,
         double factor) {
    run<float>(TransformKind::complex, direction, data, n_fft, out, factor);
}

void fft(View2<const std::complex<double>> data, std::size_t n_fft, View2<std::complex<double>> out,
         Direction direction, double factor) {
    run<double>(TransformKind::complex, direction, data, n_fft, out, factor);
}

void rfft(View2<const float> data, std::size_t n_fft, View2<std::complex<float>> out, double factor) {
    run<float>(TransformKind::from_real, Direction::forward, data, n_fft, out, factor);
}

void rfft(View2<const double> data, std::size_t n_fft, View2<std::complex<double>> out, double factor) {
    run<double>(TransformKind::from_real, Direction::forward, data, n_fft, out, factor);
}

void irfft(View2<const std::complex<float>> data, std::size_t n_fft, View2<float> out, double factor) {
    run<float>(TransformKind::to_real, Direction::backward, data, n_fft, out, factor);
}

void irfft(View2<const std::complex<double>> data, std::size_t n_fft, View2<double> out, double factor) {
    run<double>(TransformKind::to_real, Direction::backward, data, n_fft, out, factor);
}

} // namespace starskope
