// What kernels must not do, so that the symbol check can be seen to fail: an inline function that is emitted out of
// line.
namespace starskope::detail::STARSKOPE_VARIANT {

inline int shared(int x) {
    return x + 1;
}

int (*leak())(int) {
    return &shared;
}

} // namespace starskope::detail::STARSKOPE_VARIANT
