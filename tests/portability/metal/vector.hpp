// Metal's vectors and matrices and their functions, as far as naga's translation of the kernels
// uses them.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

typedef uint64_t ulong_t;

namespace metal {
typedef unsigned uint;

template <class T, int N>
struct vec;

template <class T>
struct alignas(2 * sizeof(T)) vec<T, 2> {
    T x, y;
    vec() = default;
    explicit vec(T all) : x(all), y(all) {}
    vec(T x, T y) : x(x), y(y) {}
    template <class U>
    explicit vec(vec<U, 2> v) : x(T(v.x)), y(T(v.y)) {}
    T& operator[](unsigned i) { return (&x)[i]; }
    const T& operator[](unsigned i) const { return (&x)[i]; }
};

template <class T>
struct alignas(4 * sizeof(T)) vec<T, 3> {
    T x, y, z;
    vec() = default;
    explicit vec(T all) : x(all), y(all), z(all) {}
    vec(T x, T y, T z) : x(x), y(y), z(z) {}
    T& operator[](unsigned i) { return (&x)[i]; }
    const T& operator[](unsigned i) const { return (&x)[i]; }
};

// Metal's swizzles are methods here. The text of a kernel is given their parentheses.
template <class T>
struct alignas(4 * sizeof(T)) vec<T, 4> {
    T x, y, z, w;
    vec<T, 2> xy() const { return {x, y}; }
    vec<T, 2> zw() const { return {z, w}; }
    vec<T, 3> yzw() const { return {y, z, w}; }
    vec yzww() const { return {y, z, w, w}; }
    vec(vec<T, 2> low, vec<T, 2> high) : vec(low.x, low.y, high.x, high.y) {}
    vec(vec<T, 3> low, T w) : vec(low.x, low.y, low.z, w) {}
    vec() = default;
    explicit vec(T all) : x(all), y(all), z(all), w(all) {}
    vec(T x, T y, T z, T w) : x(x), y(y), z(z), w(w) {}
    template <class U>
    explicit vec(vec<U, 4> v) : x(T(v.x)), y(T(v.y)), z(T(v.z)), w(T(v.w)) {}
    T& operator[](unsigned i) { return (&x)[i]; }
    const T& operator[](unsigned i) const { return (&x)[i]; }
};

template <class T, int N, class F>
auto each(F f) {
    vec<decltype(f(0)), N> out;
    for (int i = 0; i < N; i++) out[i] = f(i);
    return out;
}

// Componentwise operators between two vectors or a vector and a scalar on either side.
#define BINARY(op)                                                                                                \
    template <class T, int N>                                                                                     \
    auto operator op(vec<T, N> a, vec<T, N> b) { return each<T, N>([&](int i) { return decltype(a[i] op b[i])(a[i] op b[i]); }); } \
    template <class T, int N>                                                                                     \
    auto operator op(vec<T, N> a, std::type_identity_t<T> b) { return a op vec<T, N>(b); }                        \
    template <class T, int N>                                                                                     \
    auto operator op(std::type_identity_t<T> a, vec<T, N> b) { return vec<T, N>(a) op b; }
BINARY(+)
BINARY(-)
BINARY(*)
BINARY(/)
BINARY(%)
BINARY(&)
BINARY(|)
BINARY(^)
BINARY(==)
BINARY(!=)
BINARY(<)
BINARY(<=)
BINARY(>)
BINARY(>=)
#undef BINARY

// The right operand of a shift may be of another type.
template <class T, class U, int N>
vec<T, N> operator<<(vec<T, N> a, vec<U, N> b) { return each<T, N>([&](int i) { return T(a[i] << b[i]); }); }
template <class T, class U, int N>
vec<T, N> operator>>(vec<T, N> a, vec<U, N> b) { return each<T, N>([&](int i) { return T(a[i] >> b[i]); }); }
template <class T, int N>
vec<T, N>& operator-=(vec<T, N>& a, vec<T, N> b) { return a = a - b; }
template <class T, int N>
vec<T, N> operator-(vec<T, N> a) { return each<T, N>([&](int i) { return T(-a[i]); }); }
template <class T, int N>
vec<T, N> operator~(vec<T, N> a) { return each<T, N>([&](int i) { return T(~a[i]); }); }
template <int N>
vec<bool, N> operator!(vec<bool, N> a) { return each<bool, N>([&](int i) { return !a[i]; }); }

typedef vec<bool, 2> bool2;
typedef vec<bool, 4> bool4;
typedef vec<float, 2> float2;
typedef vec<float, 3> float3;
typedef vec<float, 4> float4;
typedef vec<int, 2> int2;
typedef vec<int, 4> int4;
typedef vec<unsigned, 2> uint2;
typedef vec<unsigned, 3> uint3;
typedef vec<unsigned, 4> uint4;
typedef vec<ulong_t, 2> ulong2;
typedef vec<ulong_t, 4> ulong4;

// A matrix of four columns.
struct float4x4 {
    float4 columns[4];
    float4x4() = default;
    float4x4(float4 a, float4 b, float4 c, float4 d) : columns{a, b, c, d} {}
    float4& operator[](unsigned i) { return columns[i]; }
    const float4& operator[](unsigned i) const { return columns[i]; }
};
inline float4x4 transpose(float4x4 m) {
    float4x4 out;
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) out[i][j] = m[j][i];
    return out;
}

template <class T>
T select(T no, T yes, bool which) { return which ? yes : no; }
template <class T, int N>
vec<T, N> select(vec<T, N> no, vec<T, N> yes, vec<bool, N> which) { return each<T, N>([&](int i) { return which[i] ? yes[i] : no[i]; }); }
template <int N>
bool all(vec<bool, N> v) {
    bool every = true;
    for (int i = 0; i < N; i++) every &= v[i];
    return every;
}
template <int N>
bool any(vec<bool, N> v) { return !all(!v); }

inline unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }
inline unsigned max(unsigned a, unsigned b) { return a > b ? a : b; }
inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
inline float min(float a, float b) { return std::fmin(a, b); }
inline float max(float a, float b) { return std::fmax(a, b); }
inline float fma(float a, float b, float c) { return std::fma(a, b, c); }
inline float abs(float a) { return std::fabs(a); }
inline float exp(float a) { return std::exp(a); }
inline float log(float a) { return std::log(a); }
inline float sqrt(float a) { return std::sqrt(a); }
inline float cos(float a) { return std::cos(a); }
inline float sin(float a) { return std::sin(a); }
inline float tanh(float a) { return std::tanh(a); }
inline float sign(float a) { return a > 0 ? 1.0f : a < 0 ? -1.0f : 0.0f; }
template <class T>
T clamp(T a, T low, T high) { return min(max(a, low), high); }

#define EACH_1(f) \
    template <class T, int N> \
    vec<T, N> f(vec<T, N> a) { return each<T, N>([&](int i) { return T(f(a[i])); }); }
#define EACH_2(f) \
    template <class T, int N> \
    vec<T, N> f(vec<T, N> a, vec<T, N> b) { return each<T, N>([&](int i) { return T(f(a[i], b[i])); }); }
#define EACH_3(f) \
    template <class T, int N> \
    vec<T, N> f(vec<T, N> a, vec<T, N> b, vec<T, N> c) { return each<T, N>([&](int i) { return T(f(a[i], b[i], c[i])); }); }
EACH_1(abs)
EACH_1(exp)
EACH_1(log)
EACH_1(sqrt)
EACH_1(cos)
EACH_1(sin)
EACH_1(tanh)
EACH_1(sign)
EACH_2(min)
EACH_2(max)
EACH_3(fma)
#undef EACH_1
#undef EACH_2
#undef EACH_3
}  // namespace metal

template <class To, class From>
To as_type(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
}
