// What kernels must not do, so that the symbol check can be seen to fail: a function outside the variant's namespace.
namespace starskope::detail {

int everyones(int x);
int everyones(int x) {
    return x + 1;
}

} // namespace starskope::detail
